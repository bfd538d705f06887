// SPDX-License-Identifier: GPL-2.0

//! Gears: when calls go through the handler, and when straight to the replacement. `World::check`
//! verifies at every step that both reach the same version.
#![cfg(not(loom))]

use host_tests::faults::Operation;
use host_tests::recipe::Recipe;
use host_tests::step::Step::{Call, Enter, Leave, Return, Run, Sleep};
use host_tests::tasks::TaskId::Thread;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::settle::Gear;

fn settled(world: &World) -> Vec<usize> {
    world.kernel.ftrace.settled()
}

#[test]
fn settled_when_the_transition_is_over() {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
    ]);
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    let patch = world.insmod(&recipe).unwrap();
    world.wait_stuck();
    assert_eq!(settled(&world), [0; 0], "a task is left");
    world.steps(&[
        Run(Thread(1), 0),
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
    ]);
    world.wait();
    assert_eq!(settled(&world), [cmdline]);
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");

    // The way back goes through the handler again.
    world.steps(&[Run(Thread(2), 0), Enter(Thread(2))]);
    world.write_enabled(patch, "0").unwrap();
    world.check();
    assert_eq!(settled(&world), [0; 0], "a task is left");
    world.steps(&[Leave(Thread(2)), Sleep(Thread(2))]);
    world.wait();
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
}

#[test]
fn what_another_patch_changes_leaves_the_gear_and_nothing_else() {
    let mut world = World::new();
    let (cmdline, meminfo) = (world.function("cmdline"), world.function("meminfo"));
    let one = world.load(&Recipe::of_kernel("one", &["cmdline", "meminfo"]));
    assert_eq!(settled(&world), [cmdline, meminfo]);
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1))]);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["meminfo"]))
        .unwrap();
    world.check();
    assert_eq!(settled(&world), [cmdline]);
    world.steps(&[Leave(Thread(1)), Sleep(Thread(1))]);
    world.wait();
    assert_eq!(settled(&world), [cmdline, meminfo]);
    assert_eq!(world.call(Thread(1), "meminfo"), "two:meminfo");

    // Once the lower patch is gone, its other function is no longer patched.
    world.unload(one);
    assert_eq!(settled(&world), [meminfo]);
    assert_eq!(world.call(Thread(1), "meminfo"), "two:meminfo");
    world.unload(two);
    world.check_pristine();
}

#[test]
fn where_the_tracer_can_not_the_handler_stays() {
    let mut world = World::new();
    let meminfo = world.function("meminfo");
    world.kernel.faults.after(Operation::Settle, 0, ENOMEM);
    let recipe = Recipe::of_kernel("one", &["cmdline", "meminfo"]);
    let patch = world.load(&recipe);
    assert_eq!(settled(&world), [meminfo]);
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");
    assert_eq!(world.call(Thread(1), "meminfo"), "one:meminfo");
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn stuck_in_the_gear() {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let refuse = |world: &World| world.kernel.faults.after(Operation::Unsettle, 0, EBUSY);

    refuse(&world);
    assert_eq!(world.write_enabled(one, "0"), Err(EBUSY));
    world.check();
    assert_eq!(settled(&world), [cmdline]);

    refuse(&world);
    let error = world.insmod(&Recipe::of_kernel("two", &["cmdline"]));
    assert_eq!(error.err(), Some(EBUSY));
    world.check();
    assert_eq!(settled(&world), [cmdline]);
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");

    world.unload(one);
    world.check_pristine();
}

#[test]
fn chosen_for_a_patch() {
    let mut world = World::new();
    let (cmdline, meminfo) = (world.function("cmdline"), world.function("meminfo"));
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["cmdline", "meminfo"]));
    assert_eq!(world.core.gear(two), Some(Gear::Settled));

    world
        .core
        .set_gear(&world.kernel, two, Gear::Handler)
        .unwrap();
    world.check();
    assert_eq!(world.core.gear(two), Some(Gear::Handler));
    assert_eq!(settled(&world), [0; 0]);

    // The upper patch decides for a function that both replace.
    world
        .core
        .set_gear(&world.kernel, one, Gear::Handler)
        .unwrap();
    world
        .core
        .set_gear(&world.kernel, one, Gear::Settled)
        .unwrap();
    assert_eq!(settled(&world), [0; 0]);
    world
        .core
        .set_gear(&world.kernel, two, Gear::Settled)
        .unwrap();
    assert_eq!(settled(&world), [cmdline, meminfo]);
    world
        .core
        .set_gear(&world.kernel, two, Gear::Handler)
        .unwrap();
    world.unload(two);
    assert_eq!(settled(&world), [cmdline]);
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");

    assert_eq!(
        world.core.set_gear(&world.kernel, two, Gear::Settled),
        Err(EINVAL)
    );
    world.kernel.faults.after(Operation::Unsettle, 0, ENODEV);
    assert_eq!(
        world.core.set_gear(&world.kernel, one, Gear::Handler),
        Err(ENODEV)
    );
    assert_eq!(world.core.gear(one), Some(Gear::Settled));
    world.unload(one);
    world.check_pristine();
}

#[test]
fn chosen_in_a_transition() {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1))]);
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    let patch = world.insmod(&recipe).unwrap();
    assert_eq!(world.core.gear(patch), None);
    for gear in [Gear::Handler, Gear::Settled] {
        world.core.set_gear(&world.kernel, patch, gear).unwrap();
        world.check();
        assert_eq!(settled(&world), [0; 0], "tasks are left");
    }
    world.steps(&[Leave(Thread(1)), Sleep(Thread(1))]);
    world.wait();
    assert_eq!(settled(&world), [cmdline]);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn with_a_module() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let recipe = Recipe::new("one").module("target").function("show");
    let patch = world.load(&recipe);
    assert_eq!(settled(&world), [world.function("show")]);
    world.unload_module("target");
    assert_eq!(settled(&world), [0; 0]);
    world.load_module("target").unwrap();
    assert_eq!(settled(&world), [world.function("show")]);
    world.unload(patch);
    world.unload_module("target");
    world.check_pristine();
}

/// Nothing can be changed any more, in either gear, and each request is refused with a reason.
#[test]
fn a_dead_tracer_refuses_the_same_in_every_gear() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["meminfo"]));
    world.load(&Recipe::new("three").module("target").function("show"));
    world
        .core
        .set_gear(&world.kernel, two, Gear::Handler)
        .unwrap();
    world.dmesg();
    world.kernel.ftrace.dead.set(true);
    for function in ["cmdline", "meminfo", "uptime"] {
        let error = world.insmod(&Recipe::of_kernel("new", &[function])).err();
        assert_eq!(error, Some(ENODEV), "{function}");
        assert_eq!(
            world.dmesg(),
            ["livepatch: ftrace has shut itself down: patch 'new' cannot be enabled"]
        );
    }
    for (patch, name) in [(one, "one"), (two, "two")] {
        assert_eq!(world.write_enabled(patch, "0"), Err(ENODEV), "{name}");
        let message = format!("ftrace has shut itself down: patch '{name}' cannot be disabled");
        assert_eq!(world.dmesg(), [format!("livepatch: {message}")]);
        for gear in [Gear::Handler, Gear::Settled] {
            let result = world.core.set_gear(&world.kernel, patch, gear);
            assert_eq!(result, Err(ENODEV), "{name}");
        }
    }
    world.check();
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");
    assert_eq!(world.call(Thread(1), "meminfo"), "two:meminfo");
    world.unload_module("target");
    assert_eq!(kernel::warnings(), 0, "nothing is wrong");
}
