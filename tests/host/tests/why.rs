// SPDX-License-Identifier: GPL-2.0

//! Why is it waiting: what the file of a patch in debugfs says.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::step::Step::{Call, Enter, Exit, Fork, Leave, Online, Return, Run, Sleep};
use host_tests::structures::PatchId;
use host_tests::tasks::TaskId::{Idle, Thread};
use host_tests::world::World;
use livepatch_core::symbol::Name;
use livepatch_core::task::State;

/// How many blockers are listed.
const MOST: usize = 64;

/// What is said of moves where there are none.
const NO_MOVES: &str =
    "{attempt: 0, exit: 0, idle: 0, scheduler: 0, stopper: 0, force: 0, forks: 0}";

/// Returns the lines of the file of the patch `one`.
fn why(world: &World, patch: PatchId) -> Vec<String> {
    let before = world.snapshot();
    let name = Name::new(b"one").unwrap();
    let text = world.core.why(&world.kernel, patch, &name).to_string();
    assert_eq!(world.snapshot(), before, "a look has changed something");
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

/// Returns the value of a key in the file.
fn value(world: &World, patch: PatchId, key: &str) -> String {
    let lines = why(world, patch);
    let mut values = lines.iter().filter_map(|line| line.strip_prefix(key));
    let value = values.next().and_then(|rest| rest.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

/// Returns the entries of the blockers.
fn blockers(world: &World, patch: PatchId) -> Vec<String> {
    let lines = why(world, patch);
    let entries = lines.iter().filter_map(|line| line.strip_prefix("  - "));
    entries.map(str::to_owned).collect()
}

/// Creates a world in which thread 1 sleeps inside `cmdline`.
fn inside() -> World {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
    ]);
    world
}

fn start(world: &mut World) -> PatchId {
    let recipe = Recipe::of_kernel("one", &["meminfo", "cmdline"]);
    world.insmod(&recipe).unwrap()
}

/// Ends a transition that waits for thread 1 inside a function.
fn end(world: &mut World) {
    world.steps(&[Run(Thread(1), 0), Return(Thread(1)), Leave(Thread(1))]);
    world.steps(&[Sleep(Thread(1))]);
    world.settle();
    assert_eq!(world.kernel.machine.target(), State::Idle);
}

#[test]
fn the_whole_file() {
    let mut world = inside();
    let patch = start(&mut world);
    world.idle_loops();
    for _ in 0..3 {
        world.settle();
    }
    world.kernel.machine.clock.set(12_345);
    let expected = [
        "patch: \"one\"",
        "transition: patching",
        "seconds: 12.345",
        "attempts: 4",
        "signals: 2",
        "moved: {attempt: 2, exit: 0, idle: 2, scheduler: 0, stopper: 0, force: 0, forks: 0}",
        "left: 1",
        "blockers:",
        "  - {pid: 1, tid: 1, comm: \"task1\", kthread: false, reason: asleep, \
         function: \"cmdline\", object: \"vmlinux\"}",
        "more: 0",
        "last: null",
    ];
    assert_eq!(why(&world, patch), expected);

    end(&mut world);
    let mut expected = expected.map(str::to_owned).to_vec();
    expected[1] = "transition: none".to_owned();
    expected[2] = "seconds: 0.000".to_owned();
    expected[3] = "attempts: 0".to_owned();
    expected[4] = "signals: 0".to_owned();
    expected[5] = format!("moved: {NO_MOVES}");
    expected[6] = "left: 0".to_owned();
    expected[7] = "blockers: []".to_owned();
    expected.remove(8);
    let last = expected.last_mut().unwrap();
    let time = world.kernel.machine.clock.get();
    *last = format!(
        "last: {{transition: patching, milliseconds: {time}, attempts: 5, signals: 2, moved: \
         {{attempt: 2, exit: 1, idle: 2, scheduler: 0, stopper: 0, force: 0, forks: 0}}}}"
    );
    assert_eq!(why(&world, patch), expected);
}

#[test]
fn each_reason() {
    let mut world = World::new();
    let [cmdline, uptime] = ["cmdline", "uptime"].map(|name| world.function(name));
    for _ in 0..2 {
        world.kernel.machine.add_thread(false);
    }
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
        // A stack that can't be trusted, with and without an address on it.
        Run(Thread(2), 0),
        Enter(Thread(2)),
        Call(Thread(2), uptime),
        Sleep(Thread(2)),
        Run(Thread(3), 1),
    ]);
    world.thread(2).reliable.set(false);
    world.thread(4).reliable.set(false);
    world.thread(5).process.set(4);
    world.thread(5).reliable.set(false);
    let patch = start(&mut world);
    world.idle_loops();
    world.thread(5).reliable.set(true);
    let entry = |pid: usize, tid: usize, kthread: bool, reason: &str| {
        format!(
            "{{pid: {pid}, tid: {tid}, comm: \"task{tid}\", kthread: {kthread}, reason: {reason}}}"
        )
    };
    let expected = [
        entry(
            1,
            1,
            false,
            "asleep, function: \"cmdline\", object: \"vmlinux\"",
        ),
        entry(2, 2, false, "unreliable, at: \"uptime\""),
        entry(3, 3, true, "running, cpu: 1"),
        entry(4, 4, false, "unreliable, at: \"?\""),
        // Nothing keeps this one, and a look does not move it.
        entry(4, 5, false, "ready"),
    ];
    assert_eq!(blockers(&world, patch), expected);
    assert_eq!(blockers(&world, patch), expected);
    assert_eq!(world.thread(5).name(), "task5:5");
    world.settle();
    assert_eq!(blockers(&world, patch), expected[..4]);
}

#[test]
fn without_reliable_stacks() {
    let mut world = World::new();
    world.kernel.machine.reliable.set(false);
    world.steps(&[Run(Thread(2), 1)]);
    let patch = start(&mut world);
    world.idle_loops();
    let entries = blockers(&world, patch);
    assert_eq!(entries.len(), 4);
    assert!(entries[0].ends_with("reason: unchecked}"));
    assert!(entries[1].ends_with("reason: running, cpu: 1}"));
    assert!(entries[2].ends_with("kthread: true, reason: unchecked}"));
    assert!(entries[3].contains("comm: \"swapper/1\""));
    assert!(entries[3].ends_with("reason: unchecked}"));
}

#[test]
fn idle_tasks() {
    let mut world = inside();
    world.steps(&[Run(Thread(2), 1)]);
    let patch = start(&mut world);
    let idle = |cpu: u32| {
        let name = format!("comm: \"swapper/{cpu}\"");
        let entries = blockers(&world, patch);
        let found = entries.into_iter().find(|entry| entry.contains(&name));
        found.map(|entry| entry.split("reason: ").nth(1).unwrap().to_owned())
    };
    // CPU 0 is idle. The idle task of CPU 1 was moved, since it does not run.
    assert_eq!(idle(0).as_deref(), Some("running, cpu: 0}"));
    assert_eq!(idle(1), None);
    world.kernel.step(Online(0, false)).unwrap();
    assert_eq!(idle(0).as_deref(), Some("ready}"));
}

#[test]
fn the_function_of_a_module() {
    let mut world = World::new();
    world.load_module("target").unwrap();
    let store = world.function("store");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), store),
        Sleep(Thread(1)),
    ]);
    let recipe = Recipe::of_kernel("one", &["cmdline", "uptime"]);
    let recipe = recipe.module("target").function("show").function("store");
    let patch = world.insmod(&recipe).unwrap();
    world.idle_loops();
    let entries = blockers(&world, patch);
    assert_eq!(entries.len(), 1);
    assert!(entries[0].ends_with("reason: asleep, function: \"store\", object: \"target\"}"));
}

#[test]
fn the_list_has_a_bound() {
    for surplus in [0, 1, 100] {
        let mut world = inside();
        for _ in 3..MOST + surplus {
            world.kernel.machine.add_thread(false);
        }
        for thread in world.kernel.machine.threads() {
            thread.reliable.set(false);
        }
        let patch = start(&mut world);
        world.idle_loops();
        assert_eq!(value(&world, patch, "left"), (MOST + surplus).to_string());
        assert_eq!(value(&world, patch, "more"), surplus.to_string());
        assert_eq!(blockers(&world, patch).len(), MOST);
    }
}

/// Without memory for the list, the tasks are counted.
#[test]
fn without_memory() {
    let mut world = inside();
    let patch = start(&mut world);
    world.idle_loops();
    let name = Name::new(b"one").unwrap();
    kernel::alloc::fail_after(Some(0));
    let report = world.core.why(&world.kernel, patch, &name);
    kernel::alloc::fail_after(None);
    let text = report.to_string();
    assert!(
        text.contains("\nleft: 1\nblockers: []\nmore: 1\n"),
        "{text}"
    );
    world.check();
}

#[test]
fn odd_names() {
    for (comm, expected) in [
        (&b""[..], ""),
        (b"a b: {c}, #d", "a b: {c}, #d"),
        (b"\"', \\", "\\\"', \\\\"),
        (b"a\nb\t\x1b[0m\x7f", "a\\x0ab\\x09\\x1b[0m\\x7f"),
        (b"\xc3\xa9\xff\x80", "\\xc3\\xa9\\xff\\x80"),
        (b"before\0after", "before"),
        // All bytes of a name may be in use.
        (b"0123456789abcdef", "0123456789abcdef"),
    ] {
        let mut world = inside();
        world.thread(1).comm.replace(comm.to_vec());
        let patch = start(&mut world);
        world.idle_loops();
        let entries = blockers(&world, patch);
        let start = format!("{{pid: 1, tid: 1, comm: \"{expected}\", kthread: false, reason: ");
        assert!(entries[0].starts_with(&start), "{}", entries[0]);
    }
}

#[test]
fn last_is_about_the_transition_before() {
    let mut world = inside();
    let patch = start(&mut world);
    world.idle_loops();
    world.settle();
    end(&mut world);
    let last = value(&world, patch, "last");
    assert!(last.starts_with("{transition: patching, "), "{last}");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), world.function("cmdline")),
        Sleep(Thread(1)),
    ]);
    world.write_enabled(patch, "0").unwrap();
    world.idle_loops();
    assert_eq!(value(&world, patch, "transition"), "unpatching");
    assert_eq!(value(&world, patch, "last"), last);
    // After a reversal the time and the attempts count anew.
    world.kernel.machine.clock.set(100_000);
    world.write_enabled(patch, "1").unwrap();
    assert_eq!(value(&world, patch, "transition"), "patching");
    assert_eq!(value(&world, patch, "seconds"), "0.000");
    assert_eq!(value(&world, patch, "attempts"), "0");
    world.settle();
    world.settle();
    assert_eq!(
        value(&world, patch, "last"),
        "{transition: patching, milliseconds: 11, attempts: 2, signals: 0, moved: \
         {attempt: 4, exit: 0, idle: 4, scheduler: 0, stopper: 0, force: 0, forks: 0}}"
    );
}

/// The transition of another patch is not this one's.
#[test]
fn another_patch_is_in_transition() {
    let mut world = World::new();
    let patch = start(&mut world);
    while !world.settle() {}
    let last = value(&world, patch, "last");
    world.thread(1).reliable.set(false);
    let other = world
        .insmod(&Recipe::of_kernel("two", &["uptime"]))
        .unwrap();
    assert_eq!(value(&world, other, "transition"), "patching");
    assert_eq!(value(&world, patch, "transition"), "none");
    assert_eq!(value(&world, patch, "left"), "0");
    assert_eq!(value(&world, patch, "last"), last);
}

#[test]
fn a_patch_that_was_given_up() {
    let mut world = World::new();
    let patch = start(&mut world);
    while !world.settle() {}
    world.write_enabled(patch, "0").unwrap();
    while !world.settle() {}
    assert!(world.core.patches().is_empty());
    let expected = [
        "patch: \"one\"",
        "transition: none",
        "seconds: 0.000",
        "attempts: 0",
        "signals: 0",
        &format!("moved: {NO_MOVES}"),
        "left: 0",
        "blockers: []",
        "more: 0",
        "last: null",
    ];
    assert_eq!(why(&world, patch), expected);
}

/// Whatever happens in the middle of the search, it lists what it counts.
#[test]
fn tasks_come_and_go_during_the_search() {
    for point in 0.. {
        let mut world = inside();
        world.steps(&[Run(Thread(2), 1), Enter(Thread(2))]);
        let patch = start(&mut world);
        world.idle_loops();
        let plan = [
            (point, Fork(Thread(2))),
            (point, Exit(Thread(2))),
            (point, Run(Thread(1), 1)),
            (point, Return(Thread(1))),
            (point, Leave(Thread(1))),
        ];
        world.kernel.interruptions.plan(&plan);
        let name = Name::new(b"one").unwrap();
        let report = world.core.why(&world.kernel, patch, &name);
        let done = world.kernel.interruptions.clear() <= point;
        let text = report.to_string();
        let listed = text.matches("  - ").count();
        assert!(text.contains(&format!("\nleft: {listed}\n")), "{text}");
        assert!(text.contains("\nmore: 0\n"), "{text}");
        assert!(world.kernel.machine.task(Idle(0)).is_some());
        world.check();
        if done {
            break;
        }
    }
}
