// SPDX-License-Identifier: GPL-2.0

//! Deadlines: transitions that are turned round because they have not ended in time.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::step::Step::{Call, Enter, Leave, Return, Run, Sleep};
use host_tests::structures::PatchId;
use host_tests::tasks::TaskId::{self, Thread};
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::task::State;
use livepatch_core::transition::{Deadline, Delays};

/// The machine's time in milliseconds.
fn now(world: &World) -> u64 {
    world.kernel.machine.clock.get()
}

fn target(world: &World) -> State {
    world.kernel.machine.target()
}

fn is_enabled(world: &World, patch: PatchId) -> bool {
    world.kernel.structures.patch(patch).enabled
}

/// Has a task call `function` and go to sleep in the code that it gets.
fn sleep_inside(world: &mut World, task: TaskId, function: &str) {
    let function = world.function(function);
    world.steps(&[Run(task, 0), Enter(task), Call(task, function), Sleep(task)]);
}

/// Has a task return from the function that it sleeps in, and leave the kernel.
fn wake(world: &mut World, task: TaskId) {
    world.steps(&[Run(task, 0), Return(task), Leave(task), Sleep(task)]);
}

fn set(world: &mut World, patch: PatchId, text: &str) -> Result {
    let deadline = Deadline::parse(text.as_bytes())?;
    world.core.set_deadline(&world.kernel, patch, deadline)
}

/// Starts to patch `cmdline`, in which thread 1 sleeps.
fn patching(deadline: &str) -> (World, PatchId) {
    let mut world = World::new();
    sleep_inside(&mut world, Thread(1), "cmdline");
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    set(&mut world, patch, deadline).unwrap();
    world.idle_loops();
    (world, patch)
}

/// Starts to unpatch `cmdline`, in whose replacement thread 1 sleeps.
fn unpatching(deadline: &str) -> (World, PatchId) {
    let mut world = World::new();
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    while !world.settle() {}
    set(&mut world, patch, deadline).unwrap();
    sleep_inside(&mut world, Thread(1), "cmdline");
    world.kernel.machine.clock.set(0);
    world.write_enabled(patch, "0").unwrap();
    world.idle_loops();
    (world, patch)
}

/// Makes attempts until the target is no longer `before`, or until `until`.
fn attempts_until(world: &mut World, before: State, until: u64) {
    while target(world) == before && now(world) < until {
        world.settle();
        world.check();
    }
}

#[test]
fn what_a_deadline_may_be() {
    for (input, expected) in [
        (&b"off"[..], Deadline::OFF),
        (b"off\n", Deadline::OFF),
        (b"1", Deadline::from_seconds(1)),
        (b"30\n", Deadline::from_seconds(30)),
        (b"007", Deadline::from_seconds(7)),
        (b"4294967295", Deadline::from_seconds(u32::MAX)),
    ] {
        let deadline = Deadline::parse(input).unwrap();
        assert_eq!(deadline, expected);
        assert_eq!(
            Deadline::parse(deadline.to_string().as_bytes()),
            Ok(deadline)
        );
    }
    assert_eq!(Deadline::OFF.to_string(), "off");
    assert_eq!(Deadline::from_seconds(30).to_string(), "30");
    assert_eq!(Deadline::from_seconds(0), Deadline::OFF);
    for input in [
        &b""[..],
        b"\n",
        b"0",
        b"0\n",
        b"00",
        b"-1",
        b"+1",
        b"1.5",
        b"1s",
        b" 1",
        b"1 ",
        b"1\n\n",
        b"0x10",
        b"on",
        b"OFF",
        b"off ",
        b"4294967296",
        b"42949672960",
        b"99999999999999999999999999",
    ] {
        assert_eq!(Deadline::parse(input), Err(EINVAL), "{input:?}");
    }
}

#[test]
fn every_short_text_is_a_deadline_or_refused() {
    let expected = |text: &str| {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            _ if text == "off" => Ok(Deadline::OFF),
            Ok(seconds @ 1..) if is_number => Ok(Deadline::from_seconds(seconds)),
            _ => Err(EINVAL),
        }
    };
    // The parser tells apart digits, the newline, and the letters of one word.
    let mut texts = vec![String::new()];
    for _ in 0..=6 {
        for text in &texts {
            assert_eq!(Deadline::parse(text.as_bytes()), expected(text), "{text:?}");
        }
        let longer = texts
            .iter()
            .flat_map(|text| "of019\n+".chars().map(move |c| format!("{text}{c}")));
        texts = longer.collect();
    }
    for number in (u64::from(u32::MAX) - 99)..(u64::from(u32::MAX) + 99) {
        let text = number.to_string();
        assert_eq!(Deadline::parse(text.as_bytes()), expected(&text));
        let text = format!("{text}0");
        assert_eq!(Deadline::parse(text.as_bytes()), expected(&text));
    }
}

#[test]
fn off_by_default() {
    let (mut world, patch) = patching("off");
    assert_eq!(world.core.deadline(patch), Deadline::OFF);
    attempts_until(&mut world, State::Patched, 3_600_000);
    assert_eq!(target(&world), State::Patched);
    assert!(is_enabled(&world, patch));
}

#[test]
fn patching_is_turned_round() {
    for seconds in [1, 2, 3, 30, 600] {
        let (mut world, patch) = patching(&seconds.to_string());
        world.dmesg();
        attempts_until(&mut world, State::Patched, u64::MAX);
        assert_eq!(now(&world), seconds * 1000);
        assert_eq!(target(&world), State::Unpatched);
        assert!(!is_enabled(&world, patch));
        let log = world.dmesg();
        let line = format!(
            "livepatch: 'one': patching transition has not ended after {seconds} s, turning it \
             round. Tasks left: task1:1 asleep in cmdline of vmlinux"
        );
        assert_eq!(log.iter().filter(|own| **own == line).count(), 1);
        let expected = [
            &line,
            "livepatch: 'one': reversing transition from patching to unpatching",
            "livepatch: 'one': starting unpatching transition",
        ];
        assert_eq!(log[log.len() - 3..], expected);
        while !world.settle() {}
        world.check();
        assert!(world.core.patches().is_empty());
        world.run_deferred();
        world.rmmod(patch).unwrap();
        world.check();
    }
}

#[test]
fn unpatching_is_turned_round() {
    let (mut world, patch) = unpatching("5");
    assert!(!is_enabled(&world, patch));
    attempts_until(&mut world, State::Unpatched, u64::MAX);
    assert_eq!(now(&world), 5000);
    assert_eq!(target(&world), State::Patched);
    assert!(is_enabled(&world, patch));
    while !world.settle() {}
    world.check();
    assert!(is_enabled(&world, patch));
    assert_eq!(world.call(Thread(2), "cmdline"), "one:cmdline");
    // The patch is as any other, with its deadline.
    assert_eq!(world.core.deadline(patch), Deadline::from_seconds(5));
    let start = now(&world);
    world.write_enabled(patch, "0").unwrap();
    attempts_until(&mut world, State::Unpatched, u64::MAX);
    assert_eq!(now(&world), start + 5000);
    assert!(is_enabled(&world, patch));
}

/// A task that moved before sleeps in the replacement, so the transition is as stuck as before.
#[test]
fn it_does_not_go_back_and_forth() {
    let (mut world, patch) = patching("10");
    sleep_inside(&mut world, Thread(2), "cmdline");
    attempts_until(&mut world, State::Patched, u64::MAX);
    assert_eq!(now(&world), 10_000);
    attempts_until(&mut world, State::Unpatched, 3_600_000);
    assert_eq!(target(&world), State::Unpatched);
    // A change of the deadline does not matter to it.
    set(&mut world, patch, "1").unwrap();
    attempts_until(&mut world, State::Unpatched, 3_700_000);
    assert_eq!(target(&world), State::Unpatched);
    // The administrator may turn it round. That transition has the deadline again.
    world.write_enabled(patch, "1").unwrap();
    let start = now(&world);
    attempts_until(&mut world, State::Patched, u64::MAX);
    assert_eq!(now(&world), start + 1000);
    wake(&mut world, Thread(2));
    while !world.settle() {}
    assert!(world.core.patches().is_empty());
}

#[test]
fn a_reversal_starts_the_time_anew() {
    let (mut world, patch) = patching("10");
    sleep_inside(&mut world, Thread(2), "cmdline");
    attempts_until(&mut world, State::Patched, 9_000);
    let start = now(&world);
    world.write_enabled(patch, "0").unwrap();
    attempts_until(&mut world, State::Unpatched, u64::MAX);
    assert_eq!(now(&world), start + 10_000);
    assert!(is_enabled(&world, patch));
}

#[test]
fn setting_it_during_a_transition() {
    let (mut world, patch) = patching("off");
    attempts_until(&mut world, State::Patched, 20_000);
    let start = now(&world);
    assert!(start < 21_000);
    // It counts from the start of the transition.
    set(&mut world, patch, "25").unwrap();
    attempts_until(&mut world, State::Patched, u64::MAX);
    assert_eq!(now(&world), 25_000);

    // It is over already: the next attempt is at once.
    let (mut world, patch) = patching("1000");
    attempts_until(&mut world, State::Patched, 20_000);
    let start = now(&world);
    set(&mut world, patch, "20").unwrap();
    assert_eq!(world.kernel.machine.retry.get(), Some(1));
    assert_eq!(
        target(&world),
        State::Patched,
        "only an attempt turns it round"
    );
    world.tick();
    assert_eq!((now(&world), target(&world)), (start + 1, State::Unpatched));

    // Taken away in time.
    let (mut world, patch) = patching("20");
    attempts_until(&mut world, State::Patched, 19_000);
    set(&mut world, patch, "off").unwrap();
    attempts_until(&mut world, State::Patched, 100_000);
    assert_eq!(target(&world), State::Patched);
}

/// An attempt that was asked for is not put off by a deadline that is set.
#[test]
fn setting_it_again_and_again_keeps_the_attempts() {
    let (mut world, patch) = patching("off");
    for _ in 0..1000 {
        let before = world.kernel.machine.retry.get().unwrap();
        set(&mut world, patch, "1").unwrap();
        let after = world.kernel.machine.retry.get().unwrap();
        assert!(after <= before);
        if target(&world) == State::Unpatched {
            return;
        }
        world.tick();
    }
    panic!("it was not turned round");
}

#[test]
fn a_wrong_value_changes_nothing() {
    let (mut world, patch) = patching("30");
    let before = world.kernel.machine.retry.get();
    for text in ["", "0", "-1", "soon", "4294967296"] {
        assert_eq!(set(&mut world, patch, text), Err(EINVAL));
    }
    assert_eq!(world.core.deadline(patch), Deadline::from_seconds(30));
    assert_eq!(world.kernel.machine.retry.get(), before);
    wake(&mut world, Thread(1));
    while !world.settle() {}
    world.write_enabled(patch, "0").unwrap();
    while !world.settle() {}
    // The patch is no longer listed.
    assert_eq!(set(&mut world, patch, "30"), Err(EINVAL));
    assert_eq!(world.core.deadline(patch), Deadline::OFF);
}

/// No attempt comes so late that the deadline has long been over, however long the pauses are.
#[test]
fn an_attempt_comes_at_the_deadline() {
    for (attempt, effort) in [(1, 0), (10, 0), (1000, 0), (10, 7), (300, 40)] {
        for seconds in [1, 2, 7] {
            let mut world = World::new();
            let delays = Delays {
                attempt,
                signal: 15_000,
            };
            world.kernel.machine.delays.set(delays);
            sleep_inside(&mut world, Thread(1), "cmdline");
            let recipe = Recipe::of_kernel("one", &["cmdline"]);
            let patch = world.insmod(&recipe).unwrap();
            let start = now(&world);
            set(&mut world, patch, &seconds.to_string()).unwrap();
            world.kernel.machine.effort.set(effort);
            while target(&world) == State::Patched {
                let delay = world.kernel.machine.retry.get().unwrap();
                let waited = now(&world) - start;
                assert!(waited + delay <= seconds * 1000);
                // A pause of a second may be rounded up to less than two.
                assert!(delay < 1000 || waited + 2000 <= seconds * 1000);
                world.settle();
            }
            // The last attempt and the search for the message take some time too.
            assert!(now(&world) - start <= seconds * 1000 + 20 * effort);
        }
    }
}

/// A pause of a second, which may take nearly two, stays one as long as the deadline is two seconds
/// away.
#[test]
fn pauses_are_shortened_in_the_last_two_seconds() {
    for (left, expected) in [(5000, 1000), (2000, 1000), (1999, 999), (700, 700)] {
        let (mut world, _) = patching("20");
        attempts_until(&mut world, State::Patched, 5000);
        // An attempt at that moment.
        world.kernel.machine.clock.set(20_000 - left - 1);
        world.kernel.machine.retry.set(Some(1));
        world.tick();
        assert_eq!(target(&world), State::Patched);
        assert_eq!(world.kernel.machine.retry.get(), Some(expected), "{left}");
    }
}

/// A deadline that is set asks for another attempt only in its last two seconds.
#[test]
fn a_deadline_far_away_asks_for_no_attempt() {
    for (waited, expected) in [(1000, 5), (1001, 999), (1500, 999), (2500, 500)] {
        let (mut world, patch) = patching("off");
        attempts_until(&mut world, State::Patched, 900);
        world.kernel.machine.clock.set(waited);
        world.kernel.machine.retry.set(Some(5));
        set(&mut world, patch, "3").unwrap();
        let retry = world.kernel.machine.retry.get();
        assert_eq!(retry, Some(expected), "after {waited} ms");
    }
}

/// The attempt comes before the deadline, even if both are due.
#[test]
fn a_transition_that_can_end_ends() {
    let (mut world, patch) = patching("3");
    attempts_until(&mut world, State::Patched, 2_000);
    world.kernel.machine.clock.set(10_000);
    wake(&mut world, Thread(1));
    world.dmesg();
    while !world.settle() {}
    assert!(is_enabled(&world, patch));
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'one': completing patching transition",
            "livepatch: 'one': patching complete"
        ]
    );
}

#[test]
fn a_forced_transition_is_not_turned_round() {
    let (mut world, patch) = patching("3");
    attempts_until(&mut world, State::Patched, 2_000);
    world.force(patch).unwrap();
    world.kernel.machine.clock.set(10_000);
    world.settle();
    assert_eq!(target(&world), State::Idle);
    assert!(is_enabled(&world, patch));
    // Once it is turned round, it can be forced too.
    let (mut world, patch) = patching("3");
    sleep_inside(&mut world, Thread(2), "cmdline");
    attempts_until(&mut world, State::Patched, u64::MAX);
    world.force(patch).unwrap();
    world.settle();
    assert_eq!(target(&world), State::Idle);
    assert!(world.core.patches().is_empty());
}

/// Tasks move in the middle of the attempt that turns the transition round. Whether it ends or is
/// turned round, it is so as a whole.
#[test]
fn tasks_move_while_it_is_turned_round() {
    let (mut ended, mut turned) = (0, 0);
    for point in 0.. {
        let (mut world, patch) = patching("1");
        attempts_until(&mut world, State::Patched, 600);
        let steps = [Run(Thread(1), 0), Return(Thread(1)), Leave(Thread(1))];
        let plan = steps.map(|step| (point, step));
        world.kernel.interruptions.plan(&plan);
        world.kernel.machine.clock.set(1000);
        world.tick();
        let done = world.kernel.interruptions.clear() <= point;
        world.check();
        // Otherwise it would run in user mode for ever.
        let _ = world.kernel.step(Sleep(Thread(1)));
        for _ in 0..5 {
            world.settle();
            world.check();
        }
        assert_eq!(target(&world), State::Idle, "point {point}");
        if is_enabled(&world, patch) {
            ended += 1;
            assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");
        } else {
            turned += 1;
            assert!(world.core.patches().is_empty());
        }
        if done {
            break;
        }
    }
    assert!(ended > 0 && turned > 0, "{ended} {turned}");
}

/// The first attempt is part of what enables the patch.
#[test]
fn the_first_attempt_takes_longer() {
    let mut world = World::new();
    sleep_inside(&mut world, Thread(1), "cmdline");
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    world.deadline = Deadline::from_seconds(1);
    world.kernel.machine.effort.set(600);
    let id = world.insmod(&recipe).unwrap();
    assert_eq!(target(&world), State::Unpatched);
    world.kernel.machine.effort.set(0);
    while !world.settle() {}
    assert!(world.core.patches().is_empty());
    world.run_deferred();
    world.rmmod(id).unwrap();
}

#[test]
fn ftrace_is_dead() {
    for dead in [false, true] {
        let (mut world, patch) = unpatching("5");
        world.kernel.ftrace.dead.set(dead);
        attempts_until(&mut world, State::Unpatched, 100_000);
        assert_eq!(target(&world), State::Patched);
        while !world.settle() {}
        assert!(is_enabled(&world, patch));
        assert_eq!(world.call(Thread(2), "cmdline"), "one:cmdline");
    }
}

#[test]
fn a_cumulative_patch_is_turned_round() {
    let mut world = World::new();
    let old = world
        .insmod(&Recipe::of_kernel("old", &["cmdline", "uptime"]))
        .unwrap();
    while !world.settle() {}
    sleep_inside(&mut world, Thread(1), "cmdline");
    let new = world
        .insmod(&Recipe::of_kernel("new", &["cmdline"]).replacing())
        .unwrap();
    set(&mut world, new, "2").unwrap();
    attempts_until(&mut world, State::Patched, u64::MAX);
    while !world.settle() {}
    world.check();
    assert!(is_enabled(&world, old) && !is_enabled(&world, new));
    assert_eq!(world.call(Thread(2), "uptime"), "old:uptime");
    world.run_deferred();
    world.rmmod(new).unwrap();
}

/// Returns what the message says about the tasks that are left.
fn message(world: &mut World) -> String {
    let mut log = world.dmesg().into_iter();
    let tasks = log.find_map(|line| Some(line.split_once("Tasks left: ")?.1.to_owned()));
    assert!(!log.any(|line| line.contains("Tasks left")));
    tasks.expect("a message")
}

#[test]
fn the_message_names_the_first_tasks() {
    for (more, end) in [(0, ""), (1, " and 1 more"), (60, " and 60 more")] {
        let mut world = World::new();
        let uptime = world.function("uptime");
        for _ in 0..1 + more {
            world.kernel.machine.add_thread(false);
        }
        sleep_inside(&mut world, Thread(1), "cmdline");
        world.steps(&[Run(Thread(2), 0), Enter(Thread(2))]);
        world.steps(&[Call(Thread(2), uptime), Sleep(Thread(2))]);
        world.steps(&[Run(Thread(3), 1)]);
        for number in [2].into_iter().chain(4..5 + more) {
            world.thread(number).reliable.set(false);
        }
        world.thread(1).comm.replace(b"a\nb\"".to_vec());
        let recipe = Recipe::of_kernel("one", &["cmdline"]);
        let patch = world.insmod(&recipe).unwrap();
        set(&mut world, patch, "2").unwrap();
        world.idle_loops();
        attempts_until(&mut world, State::Patched, u64::MAX);
        let expected = format!(
            "a\\x0ab\\\":1 asleep in cmdline of vmlinux, task2:2 unreliable stack at uptime, \
             task3:3 running on CPU 1, task4:4 unreliable stack at ?{end}"
        );
        assert_eq!(message(&mut world), expected);
    }
}

#[test]
fn the_message_without_memory() {
    let (mut world, _) = patching("1");
    world.dmesg();
    attempts_until(&mut world, State::Patched, 600);
    world.kernel.machine.clock.set(1000);
    kernel::alloc::fail_after(Some(0));
    world.tick();
    kernel::alloc::fail_after(None);
    assert_eq!(target(&world), State::Unpatched);
    assert_eq!(message(&mut world), "1");
}

#[test]
fn the_message_without_reliable_stacks() {
    let mut world = World::new();
    world.kernel.machine.reliable.set(false);
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    let patch = world.insmod(&recipe).unwrap();
    set(&mut world, patch, "1").unwrap();
    world.idle_loops();
    attempts_until(&mut world, State::Patched, u64::MAX);
    let expected = "task1:1 stack not checked, task2:2 stack not checked, \
                    task3:3 stack not checked";
    assert_eq!(message(&mut world), expected);
}
