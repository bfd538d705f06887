// SPDX-License-Identifier: GPL-2.0

//! Modules are loaded and unloaded under patches, callbacks run, and a failure is undone.
#![cfg(not(loom))]

use host_tests::faults::Operation;
use host_tests::recipe::Recipe;
use host_tests::step::{
    Step::{Call, Enter, Run, Sleep},
    INSIDE,
};
use host_tests::tasks::TaskId::Thread;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::task::{State, Task};

const LIVE: &str = "target -> [MODULE_STATE_LIVE] Normal state";
const COMING: &str = "target -> [MODULE_STATE_COMING] Full formed, running module_init";
const GOING: &str = "target -> [MODULE_STATE_GOING] Going away";

/// A patch of the kernel and the module, with callbacks for both.
fn demo() -> Recipe {
    Recipe::new("demo")
        .vmlinux()
        .callbacks()
        .function("cmdline")
        .module("target")
        .callbacks()
        .function("show")
}

#[test]
fn callbacks_of_a_module_that_is_there() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    assert_eq!(world.dmesg(), [""; 0]);
    let patch = world.load(&demo());
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: enabling patch 'demo'",
            "livepatch: 'demo': initializing patching transition",
            "demo: pre_patch_callback: vmlinux",
            &format!("demo: pre_patch_callback: {LIVE}"),
            "livepatch: 'demo': starting patching transition",
            "livepatch: 'demo': completing patching transition",
            "demo: post_patch_callback: vmlinux",
            &format!("demo: post_patch_callback: {LIVE}"),
            "livepatch: 'demo': patching complete",
        ]
    );
    assert_eq!(world.call(Thread(1), "show"), "demo:show");
    world.unload(patch);
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'demo': initializing unpatching transition",
            "demo: pre_unpatch_callback: vmlinux",
            &format!("demo: pre_unpatch_callback: {LIVE}"),
            "livepatch: 'demo': starting unpatching transition",
            "livepatch: 'demo': completing unpatching transition",
            "demo: post_unpatch_callback: vmlinux",
            &format!("demo: post_unpatch_callback: {LIVE}"),
            "livepatch: 'demo': unpatching complete",
        ]
    );
    world.unload_module("target");
    assert_eq!(world.dmesg(), [""; 0]);
    world.check_pristine();
}

#[test]
fn module_that_comes_and_goes_later() {
    let mut world = World::new();
    let patch = world.load(&demo());
    assert!(!world.dmesg().iter().any(|line| line.contains("target")));
    for _ in 0..2 {
        world.load_module("target").unwrap();
        assert_eq!(
            world.dmesg(),
            [
                "livepatch: applying patch 'demo' to loading module 'target'",
                &format!("demo: pre_patch_callback: {COMING}"),
                &format!("demo: post_patch_callback: {COMING}"),
            ]
        );
        assert!(world.kernel.structures.is_relocated(patch, "target"));
        assert_eq!(world.call(Thread(1), "show"), "demo:show");
        assert_eq!(world.call(Thread(1), "store"), "target:store");
        world.check();
        world.unload_module("target");
        assert_eq!(
            world.dmesg(),
            [
                &format!("demo: pre_unpatch_callback: {GOING}"),
                "livepatch: reverting patch 'demo' on unloading module 'target'",
                &format!("demo: post_unpatch_callback: {GOING}"),
            ]
        );
        assert!(!world.kernel.structures.is_relocated(patch, "target"));
        world.check();
    }
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn patches_are_applied_to_a_module_oldest_first() {
    let mut world = World::new();
    let names = ["one", "two", "three"];
    let patches =
        names.map(|name| world.load(&Recipe::new(name).module("target").function("show")));
    world.load_module("target").unwrap();
    world.check();
    assert_eq!(world.call(Thread(1), "show"), "three:show");
    world.unload(patches[1]);
    assert_eq!(world.call(Thread(1), "show"), "three:show");
    world.unload(patches[2]);
    assert_eq!(world.call(Thread(1), "show"), "one:show");
    world.unload_module("target");
    world.unload(patches[0]);
    world.check_pristine();
}

#[test]
fn pre_patch_callback_fails_on_the_second_object() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    world.kernel.faults.after(Operation::PrePatch, 1, ENODEV);
    assert_eq!(world.insmod(&demo()), Err(ENODEV));
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: enabling patch 'demo'",
            "livepatch: 'demo': initializing patching transition",
            "demo: pre_patch_callback: vmlinux",
            &format!("demo: pre_patch_callback: {LIVE}"),
            "livepatch: pre-patch callback failed for object 'target'",
            "livepatch: failed to enable patch 'demo'",
            "livepatch: 'demo': canceling patching transition, going to unpatch",
            "livepatch: 'demo': completing unpatching transition",
            // The module gets no callback: its pre-patch callback has failed.
            "demo: post_unpatch_callback: vmlinux",
            "livepatch: 'demo': unpatching complete",
        ]
    );
    world.check_pristine();
    let patch = world.load(&demo());
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn pre_patch_callback_fails_for_a_coming_module() {
    let mut world = World::new();
    let patch = world.load(&demo());
    let _ = world.dmesg();
    world.kernel.faults.after(Operation::PrePatch, 0, ENODEV);
    assert_eq!(world.load_module("target"), Err(ENODEV));
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: applying patch 'demo' to loading module 'target'",
            &format!("demo: pre_patch_callback: {COMING}"),
            "livepatch: pre-patch callback failed for object 'target'",
            "livepatch: patch 'demo' failed for module 'target', refusing to load module 'target'",
        ]
    );
    assert!(!world.kernel.structures.is_relocated(patch, "target"));
    world.check();
    world.load_module("target").unwrap();
    world.unload(patch);
    world.unload_module("target");
    world.check_pristine();
}

#[test]
fn ftrace_refuses_a_coming_module() {
    let mut world = World::new();
    let one = world.load(
        &Recipe::new("one")
            .module("target")
            .callbacks()
            .function("show"),
    );
    let two = world.load(
        &Recipe::new("two")
            .module("target")
            .callbacks()
            .function("show")
            .function("store"),
    );
    let _ = world.dmesg();
    world.kernel.faults.after(Operation::Register, 1, EBUSY);
    assert_eq!(world.load_module("target"), Err(EBUSY));
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: applying patch 'one' to loading module 'target'",
            &format!("one: pre_patch_callback: {COMING}"),
            &format!("one: post_patch_callback: {COMING}"),
            "livepatch: applying patch 'two' to loading module 'target'",
            &format!("two: pre_patch_callback: {COMING}"),
            "livepatch: failed to register ftrace handler for function 'store' (-16)",
            "livepatch: failed to apply patch 'two' to module 'target' (-16)",
            &format!("two: post_unpatch_callback: {COMING}"),
            "livepatch: patch 'two' failed for module 'target', refusing to load module 'target'",
            &format!("one: pre_unpatch_callback: {COMING}"),
            "livepatch: reverting patch 'one' on unloading module 'target'",
            &format!("one: post_unpatch_callback: {COMING}"),
        ]
    );
    for patch in [one, two] {
        assert!(!world.kernel.structures.is_relocated(patch, "target"));
    }
    world.check();
    world.load_module("target").unwrap();
    world.check();
    world.unload_module("target");
    world.unload(one);
    world.unload(two);
    world.check_pristine();
}

#[test]
fn relocations_or_symbols_fail_for_a_coming_module() {
    let mut world = World::new();
    let recipe = Recipe::new("one")
        .module("target")
        .callbacks()
        .function("show");
    let one = world.load(&recipe.function("nowhere"));
    let _ = world.dmesg();
    world.kernel.faults.after(Operation::Relocate, 0, EINVAL);
    let end = "livepatch: patch 'one' failed for module 'target', refusing to load module 'target'";
    assert_eq!(world.load_module("target"), Err(EINVAL));
    let failed = "livepatch: failed to initialize patch 'one' for module 'target' (-22)";
    assert_eq!(world.dmesg(), [failed, end]);
    world.check();
    for _ in 0..2 {
        assert_eq!(world.load_module("target"), Err(EINVAL));
        assert_eq!(
            world.dmesg(),
            [
                "livepatch: symbol 'nowhere' not found in symbol table",
                failed,
                end
            ]
        );
        assert!(
            !world.kernel.structures.is_relocated(one, "target"),
            "taken back"
        );
        world.check();
    }
    world.unload(one);
    world.check_pristine();
}

#[test]
fn module_comes_and_goes_in_mid_transition() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    let patch = world.insmod(&demo()).unwrap();
    world.wait_stuck();
    let _ = world.dmesg();
    world.load_module("target").unwrap();
    world.check();
    assert_eq!(world.call(Thread(1), "show"), "target:show");
    assert_eq!(world.call(Thread(2), "show"), "demo:show");
    world.unload_module("target");
    world.check();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: applying patch 'demo' to loading module 'target'",
            &format!("demo: pre_patch_callback: {COMING}"),
            "livepatch: reverting patch 'demo' on unloading module 'target'",
            &format!("demo: post_unpatch_callback: {GOING}"),
        ]
    );
    world.write_enabled(patch, "0").unwrap();
    world.wait();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'demo': reversing transition from patching to unpatching",
            "livepatch: 'demo': starting unpatching transition",
            "livepatch: 'demo': completing unpatching transition",
            "demo: post_unpatch_callback: vmlinux",
            "livepatch: 'demo': unpatching complete",
        ]
    );
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
}

#[test]
fn module_that_came_in_mid_transition_counts_in_stack_checks() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    let patch = world.insmod(&demo()).unwrap();
    world.wait_stuck();
    world.load_module("target").unwrap();
    // Thread 1 runs the original, then its stack becomes readable.
    let show = world.function("show");
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1)), Call(Thread(1), show)]);
    world.steps(&[Sleep(Thread(1))]);
    world.thread(1).reliable.set(true);
    let _ = world.full_dmesg();
    world.wait_stuck();
    assert_eq!(
        world.full_dmesg()[0],
        "livepatch: klp_try_switch_task: task1:1 is sleeping on function show"
    );
    assert_eq!(world.thread(1).state(), State::Unpatched);
    // The opposite direction.
    world.steps(&[Run(Thread(2), 0), Enter(Thread(2)), Call(Thread(2), show)]);
    world.steps(&[Sleep(Thread(2))]);
    world.write_enabled(patch, "0").unwrap();
    world.wait_stuck();
    assert_eq!(world.thread(2).state(), State::Patched);
}

/// Puts another module into the memory of the last one, and makes a task sleep there.
fn sleep_in_its_place(world: &World) {
    let last = world.kernel.code.add(Some("other"), "last");
    for back in 1..=2 {
        let range = livepatch_core::stack::Range {
            start: last - back * host_tests::code::SIZE,
            size: host_tests::code::SIZE,
        };
        let name = format!("work{back}");
        world.kernel.code.add_at(Some("other"), &name, range);
        world
            .thread(1)
            .stack
            .borrow_mut()
            .push(range.start + INSIDE);
    }
}

#[test]
fn module_gone_in_mid_transition_is_forgotten_by_stack_checks() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    world.insmod(&demo()).unwrap();
    world.wait_stuck();
    world.load_module("target").unwrap();
    world.wait_stuck();
    world.unload_module("target");
    sleep_in_its_place(&world);
    world.thread(1).reliable.set(true);
    world.wait();
}

/// The remains of a refused module must not keep tasks from moving: its memory may soon belong to
/// another module.
#[test]
fn module_refused_in_mid_transition_is_forgotten_by_stack_checks() {
    for (operation, error) in [(Operation::Register, EBUSY), (Operation::PrePatch, ENODEV)] {
        let mut world = World::new();
        world.thread(1).reliable.set(false);
        world.insmod(&demo()).unwrap();
        world.wait_stuck();
        world.kernel.faults.after(operation, 0, error);
        assert_eq!(world.load_module("target"), Err(error));
        world.check();

        sleep_in_its_place(&world);
        world.thread(1).reliable.set(true);
        world.wait();
        assert_eq!(world.thread(1).state(), State::Idle, "{operation:?}");
    }
}

#[test]
fn code_of_a_module_that_is_gone_is_forgotten() {
    let mut world = World::new();
    world.load(&demo());
    let starts = |world: &World| {
        let function = &world.core.patches()[0].objects[1].functions[0];
        (function.old.start, function.new.start)
    };
    let (old, new) = starts(&world);
    assert!(old == 0 && new != 0);
    world.load_module("target").unwrap();
    assert_eq!(starts(&world), (world.function("show"), new));
    world.unload_module("target");
    assert_eq!(starts(&world), (0, new), "no code starts at 0");
}

#[test]
fn a_module_that_is_not_there_is_not_looked_for_on_stacks() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    let patch = world.insmod(&demo()).unwrap();
    world.wait_stuck();
    let new = world.core.patches()[0].objects[1].functions[0].new;
    world.thread(2).stack.borrow_mut().push(new.start + INSIDE);
    world.write_enabled(patch, "0").unwrap();
    world.wait();
}

#[test]
fn a_module_that_comes_in_mid_transition_waits_once() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    world.insmod(&demo()).unwrap();
    world.wait_stuck();
    world.kernel.machine.synchronizations.set(0);
    world.load_module("target").unwrap();
    assert_eq!(world.kernel.machine.synchronizations.get(), 1);
    world.unload_module("target");
    assert_eq!(world.kernel.machine.synchronizations.get(), 2);
}

#[test]
fn a_module_that_nobody_patches_goes_without_a_wait() {
    let mut world = World::new();
    let patch = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let waits = world.kernel.machine.synchronizations.get();
    world.load_module("target").unwrap();
    world.unload_module("target");
    assert_eq!(world.kernel.machine.synchronizations.get(), waits);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn a_module_that_is_patched_goes_with_one_wait() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let patch = world.load(&demo());
    let waits = world.kernel.machine.synchronizations.get();
    world.unload_module("target");
    assert_eq!(world.kernel.machine.synchronizations.get(), waits + 1);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn module_going_while_its_patch_is_disabled() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let one = world.load(&demo());
    let two = world.load(&Recipe::new("two").module("target").function("show"));
    world.thread(1).reliable.set(false);
    world.write_enabled(one, "0").unwrap();
    world.wait_stuck();
    let _ = world.dmesg();
    world.unload_module("target");
    world.check();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: reverting patch 'demo' on unloading module 'target'",
            &format!("demo: post_unpatch_callback: {GOING}"),
            "livepatch: reverting patch 'two' on unloading module 'target'",
        ]
    );
    world.load_module("target").unwrap();
    world.check();
    assert_eq!(world.call(Thread(1), "show"), "two:show");
    world.write_enabled(one, "1").unwrap();
    world.thread(1).reliable.set(true);
    world.wait();
    world.unload(two);
    assert_eq!(world.call(Thread(1), "show"), "demo:show");
    world.unload(one);
    world.unload_module("target");
    world.check_pristine();
}

#[test]
fn failed_enabling_with_a_module_leaves_it_alone() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    for operation in [Operation::Relocate, Operation::Register] {
        world.kernel.faults.after(operation, 0, EINVAL);
        assert_eq!(world.insmod(&demo()), Err(EINVAL));
        world.check_pristine();
    }
    world.unload_module("target");
    world.check_pristine();
}
