// SPDX-License-Identifier: GPL-2.0

//! Memory runs out at every allocation of every operation, and nothing half applied stays.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::tasks::TaskId::Thread;
use host_tests::world::World;
use kernel::alloc::fail_after;
use kernel::prelude::*;

/// Runs `operation` in worlds that `make` creates, with memory for 0, 1, 2, … allocations until it
/// succeeds. Calls `failed` after each failure. Returns the number of allocations.
fn at_every_allocation<T>(
    make: impl Fn() -> (World, T),
    operation: impl Fn(&mut World, &T) -> Result,
    failed: impl Fn(&mut World, &T),
) -> usize {
    for allocations in 0..1000 {
        let (mut world, context) = make();
        world.check();
        let before = world.snapshot();
        fail_after(Some(allocations));
        let result = operation(&mut world, &context);
        fail_after(None);
        world.check();
        match result {
            Ok(()) => return allocations,
            Err(error) => {
                assert_eq!(error, ENOMEM, "after {allocations} allocations");
                let after = world.snapshot();
                assert_eq!(after.sites, before.sites, "after {allocations} allocations");
                assert_eq!(after.tasks, before.tasks, "after {allocations} allocations");
                assert_eq!(
                    after.patches, before.patches,
                    "after {allocations} allocations"
                );
                assert_eq!(
                    after.modules, before.modules,
                    "after {allocations} allocations"
                );
                failed(&mut world, &context);
                world.check();
            }
        }
    }
    panic!("never succeeds");
}

fn both(name: &str) -> Recipe {
    Recipe::of_kernel(name, &["cmdline", "meminfo"])
        .state(1, 1)
        .callbacks()
        .module("target")
        .callbacks()
        .function("show")
        .function("store")
}

#[test]
fn enabling() {
    let make = || {
        let mut world = World::new();
        world.load_module("target").unwrap();
        (world, ())
    };
    let enable = |world: &mut World, (): &()| world.insmod(&both("one")).map(drop);
    let count = at_every_allocation(make, enable, |world, ()| {
        world.check_pristine();
        // The next try succeeds.
        let patch = world.load(&both("one"));
        world.unload(patch);
        world.check_pristine();
    });
    assert!(count > 20, "{count}");
}

#[test]
fn enabling_on_top() {
    let make = || {
        let mut world = World::new();
        world.load_module("target").unwrap();
        let one = world.load(&both("one"));
        (world, one)
    };
    let enable = |world: &mut World, _: &_| world.insmod(&both("two")).map(drop);
    at_every_allocation(make, enable, |world, &one| {
        assert_eq!(world.call(Thread(1), "show"), "one:show");
        world.unload(one);
        world.check_pristine();
    });
}

#[test]
fn replacing() {
    let make = || {
        let mut world = World::new();
        world.load_module("target").unwrap();
        let one = world.load(&both("one"));
        let two = world.load(&Recipe::of_kernel("two", &["uptime"]));
        (world, [one, two])
    };
    let recipe = Recipe::of_kernel("all", &["cmdline"])
        .state(1, 1)
        .replacing();
    let enable = |world: &mut World, _: &_| world.insmod(&recipe).map(drop);
    let count = at_every_allocation(make, enable, |world, patches| {
        for &patch in patches {
            world.unload(patch);
        }
        world.check_pristine();
    });
    assert!(count > 20, "{count}");
}

#[test]
fn disabling() {
    let make = || {
        let mut world = World::new();
        let one = world.load(&both("one"));
        (world, one)
    };
    let disable = |world: &mut World, &one: &_| world.write_enabled(one, "0");
    let count = at_every_allocation(make, disable, |_, _| ());
    assert_eq!(count, 0, "disabling may not depend on memory");
}

/// Reversing, retrying, forcing and completing a transition need no memory.
#[test]
fn going_on_with_a_transition() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    world.load(&both("one"));
    let recipe = Recipe::of_kernel("all", &["cmdline"])
        .state(1, 1)
        .replacing();
    world.thread(1).reliable.set(false);
    let all = world.insmod(&recipe).unwrap();
    fail_after(Some(0));
    world.wait_stuck();
    // One task has not moved and one has, so the transition is stuck in both directions.
    world.thread(2).reliable.set(false);
    for value in ["0", "1"] {
        world.write_enabled(all, value).unwrap();
        world.wait_stuck();
    }
    world.force(all).unwrap();
    world.wait();
    assert_eq!(world.core.patches().len(), 1);
    fail_after(None);
}

#[test]
fn module_coming() {
    let make = || {
        let mut world = World::new();
        let one = world.load(&both("one"));
        let two = world.load(&both("two"));
        (world, [one, two])
    };
    let come = |world: &mut World, _: &_| world.load_module("target");
    let count = at_every_allocation(make, come, |world, patches| {
        for &patch in patches {
            assert!(!world.kernel.structures.is_relocated(patch, "target"));
        }
        world.load_module("target").unwrap();
        for &patch in patches {
            world.unload(patch);
        }
        world.check_pristine();
    });
    assert!(count >= 4, "{count}");
}

#[test]
fn module_coming_in_mid_transition() {
    for disabling in [false, true] {
        let make = || {
            let mut world = World::new();
            let one = world.load(&both("one"));
            world.thread(1).reliable.set(false);
            if disabling {
                world.write_enabled(one, "0").unwrap();
            } else {
                world.insmod(&both("two")).unwrap();
            }
            world.wait_stuck();
            (world, ())
        };
        let come = |world: &mut World, (): &()| world.load_module("target");
        at_every_allocation(make, come, |world, ()| {
            world.thread(1).reliable.set(true);
            world.wait();
            world.load_module("target").unwrap();
        });
    }
}

/// A module can't be kept from going, so this may not depend on memory.
#[test]
fn module_going() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let one = world.load(&both("one"));
    world.thread(1).reliable.set(false);
    let two = world.insmod(&both("two")).unwrap();
    world.wait_stuck();
    let show = world.function("show");
    fail_after(Some(0));
    world.unload_module("target");
    fail_after(None);
    world.check();
    assert_eq!(kernel::warnings(), 0);
    // Another module may take the memory of the one that is gone. The stack check has forgotten it.
    let thread = world.thread(1);
    thread.reliable.set(true);
    thread.stack.borrow_mut().push(show);
    world.wait();
    thread.stack.borrow_mut().clear();
    world.unload(one);
    world.unload(two);
    world.check_pristine();
}

#[test]
fn stack_checks_and_names_and_views() {
    use livepatch_core::stack::{Range, StackCheck};
    use livepatch_core::symbol::Name;
    let name = Name::new(b"x").unwrap();
    let check = || StackCheck::new([&name].into_iter());
    // A name, the list of names, and a table for each direction.
    for allocations in 0..4 {
        fail_after(Some(allocations));
        assert!(check().is_err_and(|error| error == ENOMEM));
    }
    fail_after(Some(4));
    let mut one = check().unwrap();
    assert!(Name::new(b"x").is_err_and(|error| error == ENOMEM));
    let mut none = StackCheck::new([].into_iter()).unwrap();
    let range = |start| Range { start, size: 1 };
    let [entry, old, new] = [1, 2, 3].map(range);
    assert_eq!(none.push(0, entry, old, new), Err(ENOMEM));
    // There is room for the function, however often it comes and goes.
    for _ in 0..10 {
        one.push(0, entry, old, new).unwrap();
        one.finish();
        one.remove(0..1);
    }
    fail_after(None);
}
