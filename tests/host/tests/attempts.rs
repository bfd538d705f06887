// SPDX-License-Identifier: GPL-2.0

//! When attempts to end a transition come, and who is helped along meanwhile.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::step::Step::{self, Call, Enter, Leave, Run, Sleep};
use host_tests::tasks::TaskId::{self, Thread};
use host_tests::world::World;
use livepatch_core::task::State;
use livepatch_core::transition::Delays;

/// Creates a world in which the two user tasks sleep inside `cmdline`, and starts to patch it.
fn two_inside() -> World {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    for number in [1, 2] {
        world.steps(&[
            Run(Thread(number), 0),
            Enter(Thread(number)),
            Call(Thread(number), cmdline),
            Sleep(Thread(number)),
        ]);
    }
    start(&mut world);
    world
}

fn start(world: &mut World) {
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    world.insmod(&recipe).unwrap();
}

/// How often an attempt was asked for at once.
fn hurried(world: &World) -> usize {
    world.kernel.machine.hurried.get()
}

/// The steps of a task that wakes up inside the function and leaves the kernel.
fn out(task: TaskId) -> [Step; 3] {
    [Run(task, 0), Step::Return(task), Leave(task)]
}

fn in_transition(world: &World) -> bool {
    world.kernel.machine.target() != State::Idle
}

#[test]
fn the_last_task_that_moves_asks_for_the_attempt() {
    let mut world = two_inside();
    world.idle_loops();
    let before = hurried(&world);
    world.steps(&out(Thread(1)));
    world.steps(&[Sleep(Thread(1))]);
    assert_eq!(hurried(&world), before, "a task is left");
    world.steps(&out(Thread(2)));
    assert_eq!(hurried(&world), before + 1);
    let time = world.kernel.machine.clock.get();
    world.tick();
    assert!(!in_transition(&world));
    assert!(world.kernel.machine.clock.get() - time <= 1);
    world.check();
}

#[test]
fn later_attempts_wait_for_those_who_are_left() {
    let mut world = two_inside();
    for _ in 0..4 {
        world.settle();
    }
    let before = hurried(&world);
    world.steps(&out(Thread(2)));
    world.steps(&[Sleep(Thread(2))]);
    assert_eq!(hurried(&world), before);
    // This attempt waits for one task only.
    world.settle();
    assert!(in_transition(&world));
    world.steps(&out(Thread(1)));
    assert_eq!(hurried(&world), before + 1);
    world.tick();
    assert!(!in_transition(&world));
}

/// Wherever in the middle of an attempt the last task moves, the transition ends with this attempt,
/// or with one that comes at once.
#[test]
fn a_move_in_the_middle_of_an_attempt_is_not_missed() {
    let mut later = 0;
    for point in 0.. {
        let mut world = two_inside();
        world.idle_loops();
        world.steps(&out(Thread(2)));
        world.steps(&[Sleep(Thread(2))]);
        let before = hurried(&world);
        let plan = out(Thread(1)).map(|step| (point, step));
        world.kernel.interruptions.plan(&plan);
        world.tick();
        if world.kernel.interruptions.clear() <= point {
            break;
        }
        if in_transition(&world) {
            later += 1;
            assert_eq!(hurried(&world), before + 1, "point {point}");
            world.tick();
        }
        assert!(!in_transition(&world), "point {point}");
    }
    assert!(later > 0, "no point is after the look at the task");
}

#[test]
fn nobody_asks_without_a_transition() {
    let mut world = two_inside();
    world.idle_loops();
    world.steps(&out(Thread(1)));
    world.steps(&[Sleep(Thread(1))]);
    world.steps(&out(Thread(2)));
    world.tick();
    assert!(!in_transition(&world));
    let before = hurried(&world);
    world.steps(&[Enter(Thread(2)), Leave(Thread(2))]);
    assert_eq!(hurried(&world), before);
}

#[test]
fn who_runs_is_sent_through_the_kernel() {
    let mut world = World::new();
    world.steps(&[Run(Thread(1), 0)]);
    start(&mut world);
    assert!(world.thread(1).kicked.get());
    // Who sleeps has moved at once.
    assert!(!world.thread(2).kicked.get());
}

/// Returns after how many milliseconds each of the first rounds of signals came.
fn rounds(delays: Delays, until: u64) -> Vec<u64> {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
    ]);
    world.kernel.machine.delays.set(delays);
    start(&mut world);
    let mut rounds = Vec::new();
    while world.kernel.machine.clock.get() < until {
        let before = world.thread(1).signals.get();
        world.settle();
        match world.thread(1).signals.get() - before {
            0 => {}
            1 => rounds.push(world.kernel.machine.clock.get()),
            more => panic!("{more} signals at once"),
        }
    }
    rounds
}

#[test]
fn signals_come_early_and_then_with_a_back_off() {
    let early = Delays {
        attempt: 10,
        signal: 20,
    };
    let expected = [30, 70, 150, 310, 630, 1270, 3270, 7270, 15270, 30270, 45270];
    assert_eq!(rounds(early, 46_000), expected);
    let late = Delays {
        attempt: 10,
        signal: 15_000,
    };
    assert_eq!(rounds(late, 31_000), [15_270, 30_270]);
    assert_eq!(rounds(Delays::SLOW, 31_000), [15_000, 30_000]);
}

/// The message is the C core's, and comes when the C core's comes.
/// A round that is late does not put off the next one: they come at multiples of 15 seconds.
#[test]
fn a_late_round_does_not_delay_the_next() {
    let mut world = two_inside();
    let mut at = |waited: u64| {
        let before = world.thread(1).signals.get();
        world.kernel.machine.clock.set(waited - 1);
        world.kernel.machine.retry.set(Some(1));
        world.tick();
        world.thread(1).signals.get() > before
    };
    assert!(at(16_000));
    assert!(!at(29_999));
    assert!(at(30_000));
    assert!(at(47_000));
    assert!(!at(59_999));
    assert!(at(60_000));
}

#[test]
fn early_signals_are_not_announced() {
    let mut world = two_inside();
    let signaling = "livepatch: signaling remaining tasks".to_owned();
    let mut said = Vec::new();
    while world.kernel.machine.clock.get() < 46_000 {
        world.settle();
        if world.dmesg().contains(&signaling) {
            said.push(world.kernel.machine.clock.get());
        }
    }
    assert_eq!(said, [15_270]);
}

/// A task that runs in user mode needs no signal to move.
#[test]
fn who_runs_gets_no_early_signal() {
    let mut world = two_inside();
    world.steps(&[Run(Thread(2), 1)]);
    while world.kernel.machine.clock.get() < 14_000 {
        world.settle();
    }
    assert!(world.thread(1).signals.get() > 0);
    assert_eq!(world.thread(2).signals.get(), 0);
    while world.kernel.machine.clock.get() < 16_000 {
        world.settle();
    }
    assert_eq!(world.thread(2).signals.get(), 1);
}

#[test]
fn delays_are_kept_even_at_their_bounds() {
    for (attempt, expected) in [
        (1, [1, 2, 4, 8, 16, 32]),
        (1000, [1000, 1000, 1000, 1000, 1000, 1000]),
    ] {
        let mut world = World::new();
        world.thread(1).reliable.set(false);
        let delays = Delays {
            attempt,
            signal: 15_000,
        };
        world.kernel.machine.delays.set(delays);
        start(&mut world);
        let pauses = expected.map(|_| {
            let before = world.kernel.machine.clock.get();
            world.tick();
            world.kernel.machine.clock.get() - before
        });
        assert_eq!(pauses, expected);
    }
}
