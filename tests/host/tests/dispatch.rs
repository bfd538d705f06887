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
use std::fmt::Debug;
use std::iter::once;
use std::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicUsize, Ordering};
use Target::{Original, Replacement};

/// The address of the first replacement in these tests.
const FIRST: usize = 0x1000;

/// No function lies in the first page. A site could not tell such an address from the word that
/// stands for a transition.
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

/// Readers on other CPUs, and a writer that can wait for them. How the accesses of the two may be
/// ordered is explored in `loom/site.rs`.
#[derive(Default)]
struct Readers {
    /// The number of calls that each reader has ended.
    calls: [AtomicUsize; 2],
    done: AtomicBool,
}

impl Readers {
    /// Runs `write` while each reader calls `call` again and again, with its number. Panics if a
    /// call has returned an error.
    fn run<E: Debug + Send>(
        call: impl Fn(usize) -> Result<(), E> + Sync,
        write: impl FnOnce(&Self),
    ) {
        let readers = Self::default();
        let read = |number: usize| {
            // A reader goes on after an error, since the writer waits for it.
            let mut result = Ok(());
            while !readers.done.load(Ordering::Relaxed) {
                result = result.and(call(number));
                let calls = readers.calls[number].fetch_add(1, Ordering::Release);
                // Pairs with the fence in `wait`: this reader sees what was published before the
                // wait, or the wait sees that its call has ended.
                fence(Ordering::SeqCst);
                // The writer may need this CPU.
                if calls % 16 == 0 {
                    std::thread::yield_now();
                }
            }
            result
        };
        let read = &read;
        std::thread::scope(|scope| {
            let threads = [0, 1].map(|number| scope.spawn(move || read(number)));
            write(&readers);
            readers.done.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }

    /// Waits until every call has ended that had begun before. Each reader has ended at least one
    /// call meanwhile, so no reader sleeps through the test.
    fn wait(&self) {
        fence(Ordering::SeqCst);
        for calls in &self.calls {
            let before = calls.load(Ordering::Acquire);
            while calls.load(Ordering::Acquire) == before {
                std::thread::yield_now();
            }
        }
    }
}

/// The number of transitions in the tests with readers.
const TRANSITIONS: usize = 500;

/// A call gets a version that its task has between the begin and the end of the call, and none that
/// is older than what an earlier call got.
#[test]
fn calls_get_what_was_published_meanwhile() {
    // The n-th transition goes from version n - 1 to version n. Publication 2n - 1 shows it, and
    // publication 2n shows version n to all.
    let nth = |publication: usize| match (publication / 2, publication % 2) {
        (n, 0) => View::Settled(Replacement(FIRST + n)),
        (n, _) => View::InTransition {
            newest: Replacement(FIRST + n + 1),
            below: Replacement(FIRST + n),
        },
    };
    let states = [State::Unpatched, State::Patched];
    let version = |publication: usize, number: usize| match states[number] {
        State::Patched => publication.div_ceil(2),
        _ => publication / 2,
    };
    let site = Site::new(nth(0));
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = [(); 2].map(|()| AtomicUsize::new(0));
    let call = |number: usize| {
        let least = version(ended.load(Ordering::Acquire), number);
        let least = least.max(seen[number].load(Ordering::Relaxed));
        let target = site.choose(|| states[number]);
        fence(Ordering::Acquire);
        let most = version(begun.load(Ordering::Relaxed), number);
        let Replacement(address) = target else {
            return Err((target, least, most));
        };
        let got = address.wrapping_sub(FIRST);
        seen[number].store(got, Ordering::Relaxed);
        match (least..=most).contains(&got) {
            true => Ok(()),
            false => Err((target, least, most)),
        }
    };
    Readers::run(call, |readers| {
        for n in 1..=2 * TRANSITIONS {
            begun.store(n, Ordering::Relaxed);
            fence(Ordering::Release);
            site.publish(nth(n));
            ended.store(n, Ordering::Release);
            readers.wait();
        }
    });
}

/// Tasks are patched in one transition, and unpatched in the next one. Both times this is the same
/// version, so a call that gets another has mixed up the two.
#[test]
fn transitions_do_not_mix() {
    const KEPT: Target = Replacement(FIRST);
    let site = Site::new(View::Settled(KEPT));
    let state = AtomicI32::new(State::Idle.to_raw());
    let call = |_| {
        let state = || State::from_raw(state.load(Ordering::Relaxed));
        match site.choose(state) {
            KEPT => Ok(()),
            other => Err(other),
        }
    };
    Readers::run(call, |readers| {
        for n in 1..=TRANSITIONS {
            let decoy = Replacement(FIRST + n);
            let (own, newest, below) = match n % 2 {
                0 => (State::Patched, KEPT, decoy),
                _ => (State::Unpatched, decoy, KEPT),
            };
            state.store(own.to_raw(), Ordering::Relaxed);
            fence(Ordering::Release);
            site.publish(View::InTransition { newest, below });
            readers.wait();
            site.publish(View::Settled(KEPT));
            readers.wait();
            state.store(State::Idle.to_raw(), Ordering::Relaxed);
        }
    });
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
