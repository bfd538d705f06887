// SPDX-License-Identifier: GPL-2.0

//! Atomic replace: nops, dynamic objects, and the patches that are replaced.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::step::Step::{Call, Enter, Leave, Return, Run, Sleep};
use host_tests::tasks::TaskId::Thread;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::site::{Target, View};

#[test]
fn replaces_three_and_keeps_what_it_has_itself() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["cmdline", "meminfo"]));
    let three = world.load(&Recipe::of_kernel("three", &["uptime"]));
    let _ = world.dmesg();

    // Stops in mid-transition, to see the nops.
    world.thread(1).reliable.set(false);
    let recipe = Recipe::of_kernel("all", &["cmdline"]).replacing();
    let all = world.insmod(&recipe).unwrap();
    world.wait_stuck();
    let nops = ["all/vmlinux/meminfo,1", "all/vmlinux/uptime,1"];
    let sysfs = world.kernel.structures.sysfs();
    assert!(nops.iter().all(|nop| sysfs.contains(&(*nop).to_owned())));
    for (function, old, new) in [
        ("cmdline", "two:cmdline", "all:cmdline"),
        ("meminfo", "two:meminfo", "vmlinux:meminfo"),
        ("uptime", "three:uptime", "vmlinux:uptime"),
    ] {
        assert_eq!(world.call(Thread(1), function), old);
        assert_eq!(world.call(Thread(2), function), new);
    }
    assert!(
        world.kernel.structures.patch(one).enabled,
        "until the transition is over"
    );

    world.thread(1).reliable.set(true);
    world.wait();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: enabling patch 'all'",
            "livepatch: 'all': initializing patching transition",
            "livepatch: 'all': starting patching transition",
            "livepatch: 'all': completing patching transition",
            "livepatch: 'all': patching complete",
        ]
    );
    let hooked: Vec<_> = world.kernel.ftrace.hooked();
    assert_eq!(hooked.len(), 1, "nops leave their functions alone");
    assert_eq!(world.core.patches().len(), 1);
    assert_eq!(world.core.stack_order(all), 1);
    let structures = &world.kernel.structures;
    assert_eq!(
        structures.sysfs(),
        [
            "all",
            "all/vmlinux",
            "all/vmlinux/cmdline,1",
            "one",
            "three",
            "two"
        ]
    );
    for patch in [one, two, three] {
        let mirror = structures.patch(patch);
        assert!(!mirror.enabled && !mirror.forced);
        assert_eq!(mirror.references, 1, "until the work has run");
    }
    world.run_deferred();
    for patch in [three, one, two] {
        world.rmmod(patch).unwrap();
    }
    world.unload(all);
    world.check_pristine();
}

#[test]
fn nothing_but_nops() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let one = world.load(
        &Recipe::of_kernel("one", &["cmdline"])
            .module("target")
            .function("show"),
    );
    // The new patch has neither the function nor the module.
    let none = world.load(&Recipe::new("none").vmlinux().replacing());
    assert_eq!(world.kernel.ftrace.hooked(), []);
    assert_eq!(world.call(Thread(1), "cmdline"), "vmlinux:cmdline");
    assert_eq!(world.call(Thread(1), "show"), "target:show");
    world.run_deferred();
    world.rmmod(one).unwrap();
    assert_eq!(world.kernel.structures.sysfs(), ["none", "none/vmlinux"]);
    world.unload(none);
    world.check_pristine();
}

#[test]
fn dynamic_object_of_a_module() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let one = world.load(
        &Recipe::new("one")
            .module("target")
            .function("show")
            .callbacks(),
    );
    world.thread(1).reliable.set(false);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["cmdline"]).replacing())
        .unwrap();
    world.wait_stuck();
    let show = world.function("show");
    let view = world
        .kernel
        .ftrace
        .hooked()
        .into_iter()
        .find(|hook| hook.0 == show);
    assert!(matches!(
        view,
        Some((
            _,
            View::InTransition {
                newest: Target::Original,
                below: Target::Replacement(_),
            }
        ))
    ));
    // After a reversal everything is as before, and the nops and their object are gone.
    world.thread(1).reliable.set(true);
    world.write_enabled(two, "0").unwrap();
    world.wait();
    assert_eq!(world.call(Thread(1), "show"), "one:show");
    world.run_deferred();
    world.rmmod(two).unwrap();

    // The callbacks of the replaced patch are not run, as in C.
    let _ = world.dmesg();
    let two = world.load(&Recipe::of_kernel("two", &["cmdline"]).replacing());
    assert!(!world.dmesg().iter().any(|line| line.starts_with("one: ")));
    world.run_deferred();
    world.rmmod(one).unwrap();
    world.unload(two);
    world.unload_module("target");
    world.check_pristine();
}

#[test]
fn module_comes_and_goes_while_it_is_being_replaced() {
    let mut world = World::new();
    let one = world.load(&Recipe::new("one").module("target").function("show"));
    world.thread(1).reliable.set(false);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["cmdline"]).replacing())
        .unwrap();
    world.wait_stuck();
    for _ in 0..2 {
        world.load_module("target").unwrap();
        world.check();
        assert_eq!(world.call(Thread(1), "show"), "one:show");
        assert_eq!(world.call(Thread(2), "show"), "target:show");
        world.wait_stuck();
        world.unload_module("target");
        world.check();
    }
    world.load_module("target").unwrap();
    world.thread(1).reliable.set(true);
    world.wait();
    assert_eq!(world.call(Thread(1), "show"), "target:show");
    world.run_deferred();
    world.rmmod(one).unwrap();
    world.unload_module("target");
    world.unload(two);
    world.check_pristine();
}

#[test]
fn position_of_a_nop_is_that_of_the_old_function() {
    let mut world = World::new();
    world.kernel.code.add(None, "twin");
    world.kernel.code.add(None, "twin");
    world.load(
        &Recipe::new("one")
            .vmlinux()
            .function_at("twin", 1)
            .function_at("twin", 2),
    );
    // Positions 0 and 1 mean the same symbol, so one of the twins needs a nop. But here position 0
    // is ambiguous.
    let refused = world.insmod(&Recipe::of_kernel("two", &["twin"]).replacing());
    assert_eq!(refused, Err(EINVAL));
    world.check();

    world.thread(1).reliable.set(false);
    let two = Recipe::new("two")
        .vmlinux()
        .function_at("twin", 1)
        .replacing();
    world.insmod(&two).unwrap();
    let sysfs = world.kernel.structures.sysfs();
    let own: Vec<_> = sysfs
        .iter()
        .filter(|path| path.starts_with("two/vmlinux/"))
        .collect();
    assert_eq!(own, ["two/vmlinux/twin,1", "two/vmlinux/twin,2"]);
    let unique = Recipe::of_kernel("three", &["cmdline"]);
    assert_eq!(world.insmod(&unique), Err(EBUSY));
    world.thread(1).reliable.set(true);
    world.wait();
}

#[test]
fn forced_replacement_keeps_the_replaced() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["meminfo"]));
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
    ]);
    let all = world
        .insmod(&Recipe::of_kernel("all", &["uptime"]).replacing())
        .unwrap();
    world.force(all).unwrap();
    world.tick();
    world.check();
    world.run_deferred();
    for patch in [one, two] {
        assert!(world.kernel.structures.patch(patch).forced);
        assert_eq!(world.rmmod(patch), Err(EBUSY));
    }
    assert!(!world.kernel.structures.patch(all).forced);
    assert_eq!(world.call(Thread(1), "cmdline"), "vmlinux:cmdline");
    world.steps(&[Return(Thread(1)), Leave(Thread(1)), Sleep(Thread(1))]);
    world.unload(all);
    world.check_pristine();
}

/// A task that a forced transition left inside a version below is in no version that a later
/// transition looks for.
#[test]
fn forced_on_top_keeps_what_is_below() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
    ]);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["cmdline"]))
        .unwrap();
    world.force(two).unwrap();
    world.tick();
    assert!(!world.core.is_in_transition(two));
    let all = world
        .insmod(&Recipe::of_kernel("all", &["cmdline"]).replacing())
        .unwrap();
    world.settle();
    assert!(!world.core.is_in_transition(all));
    world.run_deferred();
    let forced = |patch| world.kernel.structures.patch(patch).forced;
    assert_eq!(
        (forced(one), forced(two), forced(all)),
        (true, false, false)
    );
    assert_eq!(
        world.rmmod(one),
        Err(EBUSY),
        "thread 1 is still in its code"
    );
    world.rmmod(two).unwrap();
    world.steps(&[
        Run(Thread(1), 0),
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
    ]);
    world.unload(all);
    world.check_pristine();
}

#[test]
fn task_inside_a_replaced_function_is_named_by_the_nop() {
    let mut world = World::new();
    world.load(&Recipe::of_kernel("one", &["meminfo"]));
    let meminfo = world.function("meminfo");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), meminfo),
        Sleep(Thread(1)),
    ]);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["cmdline"]).replacing())
        .unwrap();
    let stuck = "livepatch: klp_try_switch_task: task1:1 is sleeping on function meminfo";
    assert!(world.full_dmesg().contains(&stuck.to_owned()));

    // After a reversal, a task that has moved may be in the original through the nop, and has to
    // leave it.
    world.steps(&[Run(Thread(2), 1), Enter(Thread(2))]);
    world.steps(&[Call(Thread(2), meminfo), Sleep(Thread(2))]);
    world.write_enabled(two, "0").unwrap();
    world.wait_stuck();
    let stuck = "livepatch: klp_try_switch_task: task2:2 is sleeping on function meminfo";
    assert!(world.full_dmesg().contains(&stuck.to_owned()));
    world.steps(&[Run(Thread(2), 1), Return(Thread(2)), Leave(Thread(2))]);
    world.wait();
}
