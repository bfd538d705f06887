// SPDX-License-Identifier: GPL-2.0

//! Dispatch: the view that a call gets from a site, with and without concurrent changes, and the
//! stack of versions behind the site.
#![cfg(not(loom))]

use host_tests::simulation::Simulation;
use host_tests::tasks::{SimulatedTask, TaskId};
use host_tests::tracer::Hook;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::dispatch::{Addition, Redirections, Tracer, Version};
use livepatch_core::site::{Site, Target, View};
use livepatch_core::stack::Range;
use livepatch_core::symbol::Name;
use livepatch_core::task::{State, Task};
use livepatch_core::transition::Scheduler;
use proptest::prelude::*;
use std::iter::once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use Target::{Original, Replacement};

/// The address of the first replacement in these tests.
const FIRST: usize = 0x1000;

/// No function lies in the first page. A site could not tell such an address from the number of a
/// transition.
#[test]
fn a_site_refuses_the_first_page() {
    let site = Site::new(View::Settled(Replacement(FIRST)));
    site.publish(View::Settled(Replacement(FIRST - 1)));
    assert_eq!(kernel::warnings(), 1);
    assert_eq!(site.view(), View::Settled(Replacement(FIRST)));
}

/// The site warns once and takes the newest version, as in C.
#[test]
fn an_idle_task_in_a_transition_is_a_broken_invariant() {
    let site = Site::new(View::InTransition {
        newest: Replacement(FIRST),
        below: Original,
    });
    assert_eq!(site.choose(|| State::Idle), Replacement(FIRST));
    assert_eq!(kernel::warnings(), 1);
    assert_eq!(site.choose(|| State::Idle), Replacement(FIRST));
    assert_eq!(kernel::warnings(), 0);
}

/// Readers on other CPUs never see a mixture of two views, nor an older view after a newer one.
#[test]
fn readers_never_see_a_torn_view() {
    const CHANGES: usize = 100_000;
    let nth = |n: usize| match n % 4 {
        0 => View::Settled(Replacement(FIRST + n)),
        _ => View::InTransition {
            newest: Replacement(FIRST + n),
            below: Replacement(FIRST + n + 1),
        },
    };
    let site = Site::new(nth(0));
    let done = AtomicBool::new(false);
    let seen = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                let mut different = 0;
                while !done.load(Ordering::Relaxed) {
                    let now = site.view();
                    let (View::Settled(newest) | View::InTransition { newest, .. }) = now;
                    let Replacement(newest) = newest else {
                        panic!("never published");
                    };
                    let n = newest - FIRST;
                    assert_eq!(now, nth(n));
                    assert!(n >= last, "back in time");
                    different += usize::from(n != last);
                    last = n;
                }
                seen.fetch_add(different, Ordering::Relaxed);
            });
        }
        for n in 1..=CHANGES {
            site.publish(nth(n));
            if n % 1000 == 0 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.into_inner() > 0, "the readers slept through it");
}

/// A change to a stack of versions.
#[derive(Clone, Debug)]
enum Change {
    Push {
        function: usize,
        owner: u8,
        nop: bool,
    },
    Remove {
        function: usize,
        owner: u8,
    },
    Transition {
        function: usize,
        owner: u8,
        on: bool,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let place = (0usize..3, 0u8..5);
    prop_oneof![
        3 => (place.clone(), any::<bool>())
            .prop_map(|((function, owner), nop)| Change::Push { function, owner, nop }),
        2 => place.clone().prop_map(|(function, owner)| Change::Remove { function, owner }),
        2 => (place, any::<bool>())
            .prop_map(|((function, owner), on)| Change::Transition { function, owner, on }),
    ]
}

fn code(owner: u8) -> Range {
    Range {
        start: 0x10_0000 + usize::from(owner) * 0x40,
        size: 0x40,
    }
}

/// Does what follows the removal of versions.
fn finish(sites: &mut Redirections<u8, Hook>, kernel: &Simulation) {
    sites.detach(kernel);
    let quiesced = kernel.synchronize();
    sites.reap(kernel, &quiesced);
}

/// A function that was not detached is still in use, even without versions.
#[test]
fn what_is_attached_is_not_reaped() {
    let world = World::empty();
    let kernel: &Simulation = &world.kernel;
    let function = kernel.code.add(None, "a");
    let mut sites: Redirections<u8, _> = Redirections::new();
    let version = Version {
        function: 0,
        target: Replacement(code(0).start),
        code: code(0),
        in_transition: false,
    };
    let addition = Addition {
        function,
        location: kernel.location(function),
        name: &Name::new(b"a").unwrap(),
        version,
    };
    sites.push(kernel, once(addition)).unwrap();
    sites.remove(kernel, function, 0);
    let quiesced = kernel.synchronize();
    sites.reap(kernel, &quiesced);
    assert_eq!(sites.count(), 1);
    finish(&mut sites, kernel);
    assert_eq!(sites.count(), 0);
}

proptest! {
    /// Stacks of versions behave like plain vectors.
    #[test]
    fn versions_are_a_stack(changes in proptest::collection::vec(change(), 1..40)) {
        let world = World::empty();
        let kernel: &Simulation = &world.kernel;
        let functions: Vec<usize> = ["c", "b", "a"].map(|name| kernel.code.add(None, name)).into();
        let name = Name::new(b"function").unwrap();
        let mut real: Redirections<u8, _> = Redirections::new();
        let mut model: Vec<Vec<(u8, Target, bool)>> = vec![Vec::new(); 3];
        let task = SimulatedTask::new(TaskId::Thread(1), false, false);

        for change in changes {
            match change {
                Change::Push { function, owner, nop } => {
                    if model[function].iter().any(|version| version.0 == owner) {
                        continue;
                    }
                    let target = if nop { Original } else { Replacement(code(owner).start) };
                    let version = Version { function: owner, target, code: code(owner), in_transition: false };
                    let addition = Addition {
                        function: functions[function],
                        location: kernel.location(functions[function]),
                        name: &name,
                        version,
                    };
                    real.push(kernel, once(addition)).unwrap();
                    model[function].push((owner, target, false));
                }
                Change::Remove { function, owner } => {
                    if !model[function].iter().any(|version| version.0 == owner) {
                        continue;
                    }
                    real.remove(kernel, functions[function], owner);
                    finish(&mut real, kernel);
                    model[function].retain(|version| version.0 != owner);
                }
                Change::Transition { function, owner, on } => {
                    real.set_transition(kernel, functions[function], owner, on);
                    for version in &mut model[function] {
                        if version.0 == owner {
                            version.2 = on;
                        }
                    }
                }
            }
            let hooked = kernel.ftrace.hooked();
            prop_assert_eq!(hooked.len(), model.iter().filter(|stack| !stack.is_empty()).count());
            prop_assert_eq!(real.count(), hooked.len());
            prop_assert_eq!(kernel.ftrace.filtered(), hooked.len());
            for (stack, &function) in model.iter().zip(&functions) {
                prop_assert_eq!(real.newest(function), stack.last().map(|version| code(version.0)));
                for (index, version) in stack.iter().enumerate() {
                    let below = index.checked_sub(1).map(|index| code(stack[index].0));
                    prop_assert_eq!(real.below(function, version.0), below);
                }
                for state in [State::Unpatched, State::Patched] {
                    task.set_state(state);
                    let waiting = stack.last().is_some_and(|version| version.2)
                        && state == State::Unpatched;
                    let eligible = |version: &&(u8, Target, bool)| !waiting || !version.2;
                    let chosen = stack.iter().rev().find(eligible).map(|version| version.1);
                    let expected = match chosen {
                        Some(Replacement(address)) => address,
                        Some(Original) | None => function,
                    };
                    prop_assert_eq!(kernel.dispatch(&task, function), expected);
                }
            }
        }
        for (function, stack) in model.iter().enumerate() {
            for version in stack {
                real.remove(kernel, functions[function], version.0);
            }
        }
        finish(&mut real, kernel);
        prop_assert_eq!(real.count(), 0);
        prop_assert_eq!(kernel.ftrace.filtered(), 0);
        prop_assert_eq!(kernel::warnings(), 0);
    }
}

#[test]
fn what_is_not_there_is_a_broken_invariant() {
    let world = World::empty();
    let kernel = &world.kernel;
    let function = kernel.code.add(None, "function");
    let name = Name::new(b"function").unwrap();
    let mut sites: Redirections<u8, _> = Redirections::default();
    sites.remove(kernel, function, 1);
    assert_eq!(kernel::warnings(), 1);
    let version = Version {
        function: 1,
        target: Original,
        code: code(1),
        in_transition: false,
    };
    let addition = |function| Addition {
        function,
        location: kernel.location(function),
        name: &name,
        version,
    };
    sites.push(kernel, once(addition(function))).unwrap();
    sites.remove(kernel, function, 2);
    assert_eq!(kernel::warnings(), 1);
    assert_eq!(kernel.ftrace.hooked().len(), 1);
    sites.set_transition(kernel, function + 1, 1, true);
    sites.remove(kernel, function, 1);
    assert_eq!(kernel::warnings(), 0);
    finish(&mut sites, kernel);
    assert_eq!(sites.newest(function), None);
    let result = sites.push(kernel, once(addition(5)));
    assert!(matches!(result, Err(error) if error == EINVAL));
    assert_eq!(world.kernel.ftrace.filtered(), 0);
}
