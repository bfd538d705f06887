// SPDX-License-Identifier: GPL-2.0

//! Lifecycle: patches are enabled, stacked, disabled and refused, and the log reports it.
//!
//! The messages and their order are those that the selftests of the C core expect.
#![cfg(not(loom))]

use host_tests::faults::Operation;
use host_tests::recipe::Recipe;
use host_tests::tasks::TaskId;
use host_tests::tracer::OFFSET;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::dispatch::{Redirections, Tracer};
use livepatch_core::patch::{Structures, Which};
use livepatch_core::sysfs::Writable;
use livepatch_core::task::Task;
use livepatch_core::transition::Scheduler;

#[test]
fn enable_and_disable() {
    let mut world = World::new();
    let task = TaskId::Thread(1);
    assert_eq!(world.call(task, "cmdline"), "vmlinux:cmdline");

    let patch = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: enabling patch 'one'",
            "livepatch: 'one': initializing patching transition",
            "livepatch: 'one': starting patching transition",
            "livepatch: 'one': completing patching transition",
            "livepatch: 'one': patching complete",
        ]
    );
    assert_eq!(world.call(task, "cmdline"), "one:cmdline");
    assert_eq!(world.call(task, "meminfo"), "vmlinux:meminfo");
    let structures = &world.kernel.structures;
    assert_eq!(
        structures.sysfs(),
        ["one", "one/vmlinux", "one/vmlinux/cmdline,1"]
    );
    assert!(structures.patch(patch).enabled);
    assert_eq!(world.core.stack_order(patch), 1);
    assert_eq!(world.rmmod(patch), Err(EBUSY));

    world.write_enabled(patch, "0").unwrap();
    world.wait();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'one': initializing unpatching transition",
            "livepatch: 'one': starting unpatching transition",
            "livepatch: 'one': completing unpatching transition",
            "livepatch: 'one': unpatching complete",
        ]
    );
    assert_eq!(world.call(task, "cmdline"), "vmlinux:cmdline");
    // The directory and the reference go later, without the core's lock.
    assert_eq!(world.kernel.structures.sysfs(), ["one"]);
    assert_eq!(world.rmmod(patch), Err(EBUSY));
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
}

#[test]
fn attributes_refuse_what_makes_no_sense() {
    let mut world = World::new();
    let patch = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    assert_eq!(
        world.write_enabled(patch, "1"),
        Err(EINVAL),
        "enabled already"
    );
    assert_eq!(world.force(patch), Err(EINVAL), "not in transition");
    world.unload(patch);
    // A disabled patch stays disabled, and the refused write breaks no invariant.
    assert_eq!(world.write_enabled(patch, "1"), Err(EINVAL));
    assert_eq!(world.write_enabled(patch, "0"), Err(EINVAL));
    world.check_pristine();
}

#[test]
fn force_takes_a_zero_and_forces_nothing() {
    let mut world = World::new();
    world.thread(1).reliable.set(false);
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    world.wait_stuck();
    let World { core, kernel, .. } = &mut world;
    core.store(kernel, patch, Writable::Force, false).unwrap();
    world.wait_stuck();
    assert!(!world.kernel.structures.patch(patch).forced);
}

#[test]
fn a_function_is_patched_where_it_is_and_once() {
    let mut world = World::new();
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    let id = world.kernel.structures.new_patch(&recipe.name);
    let mut patch = world.read(id, &recipe).unwrap();
    world.kernel.prepare(&patch);
    let mut sites = Redirections::new();
    let object = &mut patch.objects[0];
    assert_eq!(object.patch(&world.kernel, &mut sites), Err(EINVAL));
    assert_eq!(kernel::warnings(), 1, "nobody knows where it is");
    object.functions[0].old.start = world.function("cmdline");
    object.functions[0].location = world.kernel.location(object.functions[0].old.start);
    object.patch(&world.kernel, &mut sites).unwrap();
    object.patched = false;
    assert_eq!(object.patch(&world.kernel, &mut sites), Err(EINVAL));
    assert_eq!(kernel::warnings(), 1, "it is patched already");
    object.unpatch(&world.kernel, &mut sites, Which::All);
    sites.detach(&world.kernel);
    let quiesced = world.kernel.synchronize();
    sites.reap(&world.kernel, &quiesced);
    assert_eq!(sites.count(), 0);
    let _ = world.dmesg();
}

#[test]
fn stacked_and_disabled_in_any_order() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let mut world = World::new();
        let task = TaskId::Thread(1);
        let names = ["one", "two", "three"];
        let patches = names.map(|name| world.load(&Recipe::of_kernel(name, &["cmdline"])));
        assert_eq!(
            world.kernel.ftrace.hooked().len(),
            1,
            "one hook for a function"
        );
        for (index, &patch) in patches.iter().enumerate() {
            assert_eq!(world.core.stack_order(patch), index + 1);
        }
        let mut left = vec![0, 1, 2];
        for disabled in order {
            let newest = names[*left.last().unwrap()];
            assert_eq!(
                world.call(task, "cmdline"),
                format!("{newest}:cmdline"),
                "{order:?}"
            );
            world.unload(patches[disabled]);
            left.retain(|&index| index != disabled);
        }
        assert_eq!(world.call(task, "cmdline"), "vmlinux:cmdline");
        world.check_pristine();
    }
}

#[test]
fn enabled_twice() {
    let mut world = World::new();
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    let patch = world.load(&recipe);
    let before = world.snapshot();
    let again = world.read(patch, &recipe).unwrap();
    let result = world.core.enable(&world.kernel, again);
    assert!(matches!(
        result,
        Err(livepatch_core::registry::NotEnabled::Refused(error)) if error == EEXIST
    ));
    assert_eq!(world.snapshot(), before);
    world.unload(patch);
}

#[test]
fn same_name_twice() {
    let mut world = World::new();
    let patch = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let before = world.snapshot().sites;
    // Another module cannot have the same name: creating its directory fails.
    let id = world.kernel.structures.new_patch("one");
    let other = world.enable(id, &Recipe::of_kernel("one", &["meminfo"]));
    assert!(other.is_err());
    assert_eq!(world.snapshot().sites, before);
    world.check();
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn busy_in_transition() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    world.thread(1).reliable.set(false);
    let two = world
        .insmod(&Recipe::of_kernel("two", &["meminfo"]))
        .unwrap();
    assert!(!world.settle());
    let _ = world.dmesg();

    // Another patch is refused, even one that replaces all, and nothing of it is left.
    for recipe in [
        Recipe::of_kernel("three", &["meminfo"]),
        Recipe::of_kernel("three", &["uptime"]).replacing(),
    ] {
        assert_eq!(world.insmod(&recipe), Err(EBUSY));
        world.check();
    }
    assert_eq!(world.write_enabled(one, "0"), Err(EBUSY));
    assert_eq!(world.dmesg(), [""; 0], "C says nothing of it");

    world.thread(1).reliable.set(true);
    world.wait();
    world.unload(two);
    world.unload(one);
    world.check_pristine();
}

#[test]
fn incompatible_states() {
    let mut world = World::new();
    let one = world.load(
        &Recipe::of_kernel("one", &["cmdline"])
            .state(7, 2)
            .state(8, 1),
    );
    let _ = world.dmesg();
    let refused = [
        Recipe::of_kernel("two", &["cmdline"]).state(7, 1),
        Recipe::of_kernel("two", &["cmdline"])
            .replacing()
            .state(7, 2),
        Recipe::of_kernel("two", &["cmdline"]).replacing(),
    ];
    for recipe in refused {
        assert_eq!(world.insmod(&recipe), Err(EINVAL));
        assert_eq!(
            world.dmesg(),
            [
                "livepatch: Livepatch patch (two) is not compatible with the already installed \
              livepatches."
            ]
        );
        world.check();
    }
    let two = world.load(&Recipe::of_kernel("two", &["cmdline"]).state(7, 2));
    let three = world.load(
        &Recipe::of_kernel("three", &["cmdline"])
            .replacing()
            .state(8, 1)
            .state(7, 3),
    );
    world.run_deferred();
    world.rmmod(one).unwrap();
    world.rmmod(two).unwrap();
    world.unload(three);
    world.check_pristine();
}

#[test]
fn refused_before_anything_was_done() {
    let mut world = World::new();
    world.kernel.faults.after(Operation::GetModule, 0, ENODEV);
    assert_eq!(
        world.insmod(&Recipe::of_kernel("one", &["cmdline"])),
        Err(ENODEV)
    );
    assert_eq!(world.dmesg(), [""; 0]);
    world.check_pristine();
}

#[test]
fn symbols_that_are_not_there() {
    let mut world = World::new();
    world.kernel.code.add(None, "twin");
    world.kernel.code.add(None, "twin");
    let cases = [
        ("nowhere", 0, "symbol 'nowhere' not found in symbol table"),
        ("nowhere", 3, "symbol 'nowhere' not found in symbol table"),
        (
            "twin",
            0,
            "unresolvable ambiguity for symbol 'twin' in object '(null)'",
        ),
        (
            "twin",
            3,
            "symbol position 3 for symbol 'twin' in object 'vmlinux' not found",
        ),
        (
            "cmdline",
            2,
            "symbol position 2 for symbol 'cmdline' in object 'vmlinux' not found",
        ),
    ];
    for (name, position, message) in cases {
        let recipe = Recipe::new("one")
            .vmlinux()
            .function("meminfo")
            .function_at(name, position);
        assert_eq!(world.insmod(&recipe), Err(EINVAL), "{name},{position}");
        assert_eq!(world.dmesg(), [format!("livepatch: {message}")]);
        world.check_pristine();
    }
    // Both twins are patched, by position.
    let recipe = Recipe::new("one")
        .vmlinux()
        .function_at("twin", 1)
        .function_at("twin", 2);
    let patch = world.load(&recipe);
    assert_eq!(world.kernel.ftrace.hooked().len(), 2);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn malformed_patches() {
    let mut world = World::new();
    let long = "x".repeat(512);
    let mut no_replacement = Recipe::of_kernel("one", &["meminfo", "cmdline"]);
    no_replacement.objects[0].functions[1].replacement = false;
    let malformed = [
        (no_replacement, EINVAL),
        (Recipe::of_kernel("one", &["meminfo", &long]), EINVAL),
        (
            Recipe::of_kernel("one", &["meminfo"])
                .module(&long[..56])
                .function("show"),
            EINVAL,
        ),
        // Positions 0 and 1 mean the same symbol.
        (
            Recipe::of_kernel("one", &["meminfo"]).function_at("meminfo", 1),
            EEXIST,
        ),
        (
            Recipe::of_kernel("one", &["meminfo"])
                .vmlinux()
                .function("cmdline"),
            EEXIST,
        ),
    ];
    for (recipe, error) in malformed {
        assert_eq!(world.insmod(&recipe), Err(error));
        world.check_pristine();
    }
    let longest = Recipe::of_kernel("one", &["meminfo"])
        .module(&long[..55])
        .function("show");
    let patch = world.load(&longest);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn ftrace_refuses_the_nth_function() {
    let functions = ["cmdline", "meminfo", "uptime"];
    for (operation, text) in [
        (Operation::Filter, "failed to set ftrace filter"),
        (Operation::Register, "failed to register ftrace handler"),
    ] {
        for (n, name) in functions.iter().enumerate() {
            let mut world = World::new();
            world.kernel.faults.after(operation, n, EBUSY);
            assert_eq!(
                world.insmod(&Recipe::of_kernel("one", &functions)),
                Err(EBUSY)
            );
            assert_eq!(
                world.dmesg(),
                [
                    "livepatch: enabling patch 'one'".to_owned(),
                    "livepatch: 'one': initializing patching transition".to_owned(),
                    format!("livepatch: {text} for function '{name}' (-16)"),
                    "livepatch: failed to patch object 'vmlinux'".to_owned(),
                    "livepatch: failed to enable patch 'one'".to_owned(),
                    "livepatch: 'one': canceling patching transition, going to unpatch".to_owned(),
                    "livepatch: 'one': completing unpatching transition".to_owned(),
                    "livepatch: 'one': unpatching complete".to_owned(),
                ]
            );
            assert!(world.kernel.faults.is_empty());
            world.check_pristine();
        }
    }
}

#[test]
fn function_that_cannot_be_traced() {
    let mut world = World::new();
    world.kernel.code.set_untraceable("meminfo");
    let recipe = Recipe::of_kernel("one", &["cmdline", "meminfo"]);
    assert_eq!(world.insmod(&recipe), Err(EINVAL));
    assert_eq!(
        world.dmesg()[2],
        "livepatch: failed to find location for function 'meminfo'"
    );
    world.check_pristine();
}

#[test]
fn ftrace_does_not_let_go() {
    let mut world = World::new();
    let task = TaskId::Thread(1);
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    world.kernel.faults.after(Operation::Unregister, 0, EBUSY);
    world.write_enabled(one, "0").unwrap();
    while !world.settle() {}
    assert_eq!(kernel::warnings(), 1, "as in C");
    // The location that the tracer still calls does no harm and is not in the way.
    assert_eq!(world.call(task, "cmdline"), "vmlinux:cmdline");
    world.run_deferred();
    world.rmmod(one).unwrap();
    let two = world.load(&Recipe::of_kernel("two", &["cmdline"]));
    assert_eq!(world.call(task, "cmdline"), "two:cmdline");
    world.unload(two);
    world.check_pristine();
}

/// If ftrace refuses one of many functions, that one is named and nothing of the others is left.
#[test]
fn one_of_many_functions_is_refused() {
    let names: Vec<String> = (0..200).map(|n| format!("function{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for n in [0, 1, 100, 199] {
        let mut world = World::new();
        for name in &names {
            world.kernel.code.add(None, name);
        }
        let mine = world.load(&Recipe::of_kernel("mine", &["cmdline"]));
        world.dmesg();
        world.kernel.faults.after(Operation::Register, n, EBUSY);
        assert_eq!(world.insmod(&Recipe::of_kernel("many", &names)), Err(EBUSY));
        let refused = format!(
            "livepatch: failed to register ftrace handler for function '{}' (-16)",
            names[n]
        );
        let log = world.dmesg();
        assert_eq!(log.iter().filter(|line| **line == refused).count(), 1);
        assert_eq!(
            log.iter().filter(|line| line.contains("function")).count(),
            1
        );
        assert_eq!(world.kernel.ftrace.filtered(), 1);
        world.check();
        world.unload(mine);
        world.check_pristine();
    }
}

/// Any number of functions takes one batch to attach, one to detach, and one wait for handlers at
/// each end.
#[test]
fn thousands_of_functions_are_one_batch() {
    let names: Vec<String> = (0..2000).map(|n| format!("function{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new();
    for name in &names {
        world.kernel.code.add(None, name);
    }
    let count = |world: &World| {
        let batches = world.kernel.ftrace.batches.get();
        (batches, world.kernel.machine.synchronizations.get())
    };
    let patch = world.insmod(&Recipe::of_kernel("many", &names)).unwrap();
    while !world.settle() {}
    assert_eq!(count(&world), ((1, 0), 1));
    assert_eq!(world.kernel.ftrace.filtered(), names.len());
    assert_eq!(
        world.call(TaskId::Thread(1), "function1999"),
        "many:function1999"
    );
    world.write_enabled(patch, "0").unwrap();
    while !world.settle() {}
    assert_eq!(count(&world), ((1, 1), 2));
    assert_eq!(world.kernel.ftrace.filtered(), 0);
    world.run_deferred();
    world.rmmod(patch).unwrap();
}

/// Attached one by one, the functions would all succeed, but each would stay a batch of its own.
#[test]
fn a_batch_that_is_refused_for_the_moment_stays_one() {
    let mut world = World::new();
    world.kernel.ftrace.busy.set(3);
    world.load(&Recipe::of_kernel("one", &["cmdline", "meminfo", "uptime"]));
    assert_eq!(world.kernel.ftrace.batches.get(), (1, 0));
    assert_eq!(world.kernel.ftrace.filtered(), 3);
}

/// If the batch keeps being refused, the patch is refused with the C core's message.
#[test]
fn a_batch_that_is_always_refused_is_refused() {
    let mut world = World::new();
    world.kernel.ftrace.busy.set(usize::MAX);
    let error = world.insmod(&Recipe::of_kernel("one", &["cmdline", "meminfo"]));
    assert_eq!(error.err(), Some(EAGAIN));
    let message = "livepatch: failed to register ftrace handler for function 'cmdline' (-11)";
    assert!(world.dmesg().iter().any(|line| line == message));
    world.kernel.ftrace.busy.set(0);
    world.check_pristine();
}

/// If ftrace has no memory to remove locations, they do no harm and are removed the next time.
#[test]
fn ftrace_keeps_a_location() {
    let mut world = World::new();
    let task = TaskId::Thread(1);
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["meminfo"]));
    world.kernel.faults.after(Operation::Unfilter, 0, ENOMEM);
    world.write_enabled(one, "0").unwrap();
    while !world.settle() {}
    assert_eq!(kernel::warnings(), 0, "nothing is wrong");
    world.run_deferred();
    world.rmmod(one).unwrap();
    assert_eq!(world.kernel.ftrace.filtered(), 2, "one of them stale");
    assert_eq!(world.kernel.ftrace.hooked().len(), 1);
    assert_eq!(world.call(task, "cmdline"), "vmlinux:cmdline");
    // The stale location may be patched again. It is removed together with that patch.
    let three = world.load(&Recipe::of_kernel("three", &["cmdline"]));
    assert_eq!(world.call(task, "cmdline"), "three:cmdline");
    world.unload(three);
    assert_eq!(world.kernel.ftrace.filtered(), 1);
    world.unload(two);
    world.check_pristine();
}

/// A task that was preempted behind the handler, on its way to the version it got, counts as
/// inside.
#[test]
fn in_the_trampoline() {
    // The stack then holds the address at which the original continues, behind the call of the
    // tracer. The length of that call differs between architectures.
    for length in [4, 5, 6, 8] {
        in_the_trampoline_of(length);
    }
}

fn in_the_trampoline_of(length: usize) {
    let mut world = World::new();
    let recipe = |name| Recipe::of_kernel(name, &["cmdline"]);
    let one = world.load(&recipe("one"));
    let task = world.thread(1);
    let return_address = world.function("cmdline") + OFFSET + length;
    task.stack.borrow_mut().push(return_address);
    let two = world.insmod(&recipe("two")).unwrap();
    world.wait_stuck();
    assert!(task.is_pending(), "it may be on its way to the first patch");
    task.stack.borrow_mut().clear();
    world.wait();

    task.stack.borrow_mut().push(return_address);
    world.write_enabled(two, "0").unwrap();
    world.wait_stuck();
    assert!(
        task.is_pending(),
        "it may be on its way to the second patch"
    );
    task.stack.borrow_mut().clear();
    world.wait();
    world.run_deferred();
    world.rmmod(two).unwrap();
    world.unload(one);
    world.check_pristine();
}

/// Farther on, the task is in the original itself. Patches above the first one don't wait for it.
#[test]
fn behind_the_trampoline() {
    let mut world = World::new();
    let recipe = |name| Recipe::of_kernel(name, &["cmdline"]);
    let one = world.load(&recipe("one"));
    let task = world.thread(1);
    let return_address = world.function("cmdline") + OFFSET + 9;
    task.stack.borrow_mut().push(return_address);
    let two = world.load(&recipe("two"));
    assert!(!task.is_pending());
    world.unload(two);
    task.stack.borrow_mut().clear();
    world.unload(one);
    world.check_pristine();
}

/// Two names for the same code.
#[test]
fn aliases_in_one_patch() {
    let mut world = World::new();
    let range = world
        .kernel
        .code
        .at(world.function("cmdline"))
        .unwrap()
        .range;
    world.kernel.code.add_at(None, "alias", range);
    world.thread(1).reliable.set(false);
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline", "alias"]))
        .unwrap();
    while !world.settle() && world.thread(2).is_pending() {}
    assert_eq!(world.call(TaskId::Thread(2), "cmdline"), "one:alias");
    assert_eq!(world.call(TaskId::Thread(1), "cmdline"), "vmlinux:cmdline");
    world.thread(1).reliable.set(true);
    world.wait();
    world.unload(patch);
    world.check_pristine();
}
