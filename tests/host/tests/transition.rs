// SPDX-License-Identifier: GPL-2.0

//! Transition: how tasks move, what keeps them from moving, and what the administrator can do.
#![cfg(not(loom))]

use host_tests::recipe::Recipe;
use host_tests::step::Step::{
    self, Call, Enter, Exit, Fork, IdleLoop, Leave, Look, Online, Return, Run, Sleep,
};
use host_tests::structures::PatchId;
use host_tests::tasks::TaskId::{self, Idle, Thread};
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::task::{State, Task, Tasks};
use livepatch_core::transition::{switch_if_pending, Delays, Way};

const STUCK: &str = "livepatch: klp_try_switch_task: ";

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

/// Enables a patch of `cmdline` and lets all tasks move that can.
fn enable(world: &mut World) -> PatchId {
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    world.check();
    for _ in 0..3 {
        world.settle();
        world.check();
    }
    patch
}

fn state(world: &World, task: TaskId) -> (State, bool) {
    let task = world.kernel.machine.task(task).unwrap();
    (task.state(), task.is_pending())
}

const WAITING: (State, bool) = (State::Unpatched, true);
const MOVED: (State, bool) = (State::Patched, false);
const IDLE: (State, bool) = (State::Idle, false);

#[test]
fn sleeping_inside_a_function() {
    let mut world = inside();
    let patch = enable(&mut world);
    let log = world.full_dmesg();
    let stuck = format!("{STUCK}task1:1 is sleeping on function cmdline");
    assert_eq!(
        log.iter().filter(|line| **line == stuck).count(),
        4,
        "at each attempt"
    );
    assert_eq!(state(&world, Thread(1)), WAITING);
    for task in [Thread(2), Thread(3), Idle(0), Idle(1)] {
        assert_eq!(state(&world, task), MOVED);
    }
    assert!(world.core.is_in_transition(patch));
    assert!(world.kernel.machine.scheduler.get());
    assert_eq!(world.call(Thread(1), "cmdline"), "vmlinux:cmdline");
    assert_eq!(world.call(Thread(2), "cmdline"), "one:cmdline");

    // Once the task is out of the function and off the CPU, the next attempt moves it.
    world.kernel.machine.scheduler.set(false);
    world.steps(&[Run(Thread(1), 0), Return(Thread(1)), Sleep(Thread(1))]);
    world.kernel.machine.scheduler.set(true);
    assert_eq!(state(&world, Thread(1)), WAITING);
    assert_eq!(world.dmesg(), [""; 0]);
    world.wait();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'one': completing patching transition",
            "livepatch: 'one': patching complete"
        ]
    );
    assert_eq!(state(&world, Thread(1)), IDLE);
    assert!(!world.kernel.machine.scheduler.get());
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn kernel_exit_moves_a_task() {
    let mut world = inside();
    let patch = enable(&mut world);
    world.steps(&[Run(Thread(1), 0), Return(Thread(1))]);
    assert_eq!(state(&world, Thread(1)), WAITING);
    world.steps(&[Leave(Thread(1))]);
    assert_eq!(state(&world, Thread(1)), MOVED);
    // The task stays moved, though it keeps running.
    world.wait();
    world.steps(&[Sleep(Thread(1))]);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn running_elsewhere_or_unreliable() {
    let mut world = World::new();
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1))]);
    world.thread(2).reliable.set(false);
    let patch = enable(&mut world);
    let log = world.full_dmesg();
    assert!(log.contains(&format!("{STUCK}task1:1 is running")));
    assert!(log.contains(&format!("{STUCK}task2:2 has an unreliable stack")));
    assert!(log.contains(&format!("{STUCK}swapper/1:0 is running")));
    assert_eq!(state(&world, Thread(1)), WAITING);
    assert_eq!(state(&world, Thread(2)), WAITING);
    // Thread 1 has preempted the idle task of CPU 0, which is therefore off its CPU.
    assert_eq!(state(&world, Idle(0)), MOVED);

    // A task that leaves the kernel moves without a look at its stack.
    world.steps(&[Run(Thread(2), 1), Enter(Thread(2)), Leave(Thread(2))]);
    assert_eq!(state(&world, Thread(2)), MOVED);
    world.steps(&[Leave(Thread(1))]);
    world.wait();
    world.steps(&[Sleep(Thread(1)), Sleep(Thread(2))]);
    world.thread(2).reliable.set(true);
    world.unload(patch);
    world.check_pristine();
}

/// Creates a world in which thread 3, a kthread, never leaves CPU 1, and a user thread runs on CPU
/// 0.
fn busy() -> World {
    let mut world = World::new();
    world.thread(3).user.set(false);
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1)), Run(Thread(3), 1)]);
    world
}

/// Returns the task that a CPU's stopper was asked to look at.
fn asked_for(world: &World, cpu: u32) -> Option<TaskId> {
    let cpu = world.kernel.machine.cpu(cpu).unwrap();
    let look = cpu.look.borrow();
    look.as_ref().map(|task| task.id)
}

#[test]
fn a_kthread_that_never_sleeps_is_taken_off_its_cpu() {
    let mut world = busy();
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    // The user thread most likely leaves the kernel by itself.
    assert_eq!(asked_for(&world, 0), None);
    assert_eq!(asked_for(&world, 1), Some(Thread(3)));
    assert_eq!(state(&world, Thread(3)), WAITING);
    world.steps(&[Look(1)]);
    assert_eq!(state(&world, Thread(3)), MOVED);
    assert_eq!(world.thread(3).cpu.get(), Some(1), "it goes on");
    assert_eq!(world.call(Thread(3), "cmdline"), "one:cmdline");

    // The user thread has not left the kernel.
    world.tick();
    assert_eq!(asked_for(&world, 0), Some(Thread(1)));
    assert_eq!(asked_for(&world, 1), None, "nobody is left there");
    world.steps(&[Look(0)]);
    assert_eq!(state(&world, Thread(1)), MOVED);
    world.wait();

    world.write_enabled(patch, "0").unwrap();
    world.steps(&[Look(1), Leave(Thread(1))]);
    world.wait();
    world.steps(&[Sleep(Thread(1)), Sleep(Thread(3))]);
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
}

/// Inside the function the kthread is not moved, and the log says why. The next attempt asks again.
#[test]
fn a_kthread_that_is_taken_off_its_cpu_inside() {
    let mut world = busy();
    let cmdline = world.function("cmdline");
    world.steps(&[Call(Thread(3), cmdline)]);
    let patch = enable(&mut world);
    let _ = world.full_dmesg();
    world.steps(&[Look(1)]);
    let inside = format!("{STUCK}task3:3 is sleeping on function cmdline");
    assert_eq!(world.full_dmesg(), [inside]);
    world.steps(&[Return(Thread(3))]);
    world.thread(3).reliable.set(false);
    world.tick();
    let _ = world.full_dmesg();
    world.steps(&[Look(1)]);
    let unreliable = format!("{STUCK}task3:3 has an unreliable stack");
    assert_eq!(world.full_dmesg(), [unreliable]);
    assert_eq!(state(&world, Thread(3)), WAITING);

    world.thread(3).reliable.set(true);
    world.steps(&[Leave(Thread(1))]);
    world.tick();
    world.steps(&[Look(1)]);
    world.wait();
    world.steps(&[Sleep(Thread(1)), Sleep(Thread(3))]);
    world.unload(patch);
    world.check_pristine();
}

/// No task is disturbed where a look would be useless.
#[test]
fn without_reliable_stacks_nobody_is_taken_off_its_cpu() {
    let mut world = busy();
    world.kernel.machine.reliable.set(false);
    enable(&mut world);
    assert_eq!(asked_for(&world, 0), None);
    assert_eq!(asked_for(&world, 1), None);
}

/// The stopper may look late: after the transition was reversed, after it ended, in the middle of
/// the start of the next one, or after the task has exited.
#[test]
fn a_look_that_comes_late() {
    let mut world = busy();
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    world.write_enabled(patch, "0").unwrap();
    assert_eq!(state(&world, Thread(3)), (State::Unpatched, false));
    world.steps(&[Look(1)]);
    assert_eq!(state(&world, Thread(3)), (State::Unpatched, false));
    world.wait();
    world.run_deferred();
    world.rmmod(patch).unwrap();

    for point in 0.. {
        let mut world = busy();
        let patch = world
            .insmod(&Recipe::of_kernel("one", &["cmdline"]))
            .unwrap();
        assert_eq!(asked_for(&world, 1), Some(Thread(3)));
        world.steps(&[Leave(Thread(1)), Sleep(Thread(3))]);
        world.wait();
        world.steps(&[Run(Thread(3), 1)]);
        // The look was requested in the transition that has ended.
        assert_eq!(asked_for(&world, 1), Some(Thread(3)));
        world.kernel.interruptions.plan(&[(point, Look(1))]);
        world.write_enabled(patch, "0").unwrap();
        let points = world.kernel.interruptions.clear();
        world.check();
        world.steps(&[Sleep(Thread(3)), Sleep(Thread(1))]);
        world.wait();
        world.run_deferred();
        world.rmmod(patch).unwrap();
        world.check_pristine();
        if point > points {
            break;
        }
    }

    let mut world = busy();
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    world.steps(&[Exit(Thread(3)), Look(1), Leave(Thread(1))]);
    world.wait();
    world.steps(&[Sleep(Thread(1))]);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn words_of_a_sleeping_task() {
    let mut world = World::new();
    let cmdline = world.kernel.code.address(None, "cmdline").unwrap();
    // Unwinding does not work for these tasks. On one stack nothing points into changing code, on
    // the next a leftover address does, and on the last a real return address does.
    for thread in 1..=3 {
        world.thread(thread).reliable.set(false);
        world.thread(thread).left_over.replace(Some(vec![0, 42]));
    }
    world.thread(2).left_over.replace(Some(vec![42, cmdline]));
    world.thread(3).stack.replace(vec![cmdline]);
    let patch = enable(&mut world);
    assert_eq!(state(&world, Thread(1)), MOVED);
    assert_eq!(state(&world, Thread(2)), WAITING);
    assert_eq!(state(&world, Thread(3)), WAITING);

    // Where unwinding works, it tells a leftover from a return address.
    world.thread(2).reliable.set(true);
    world.thread(3).reliable.set(true);
    world.settle();
    assert_eq!(state(&world, Thread(2)), MOVED);
    assert_eq!(state(&world, Thread(3)), WAITING);
    world.thread(3).stack.borrow_mut().clear();
    world.wait();
    assert_eq!(state(&world, Thread(3)), IDLE);
    world.unload(patch);
    world.check_pristine();
}

/// At each point of an attempt, the only task that has not moved takes the steps of `plan`. Then
/// `after` tidies up. Returns the number of points.
fn in_the_middle_of_an_attempt(plan: &[Step], mut after: impl FnMut(&mut World, usize)) -> usize {
    for point in 0.. {
        let mut world = World::new();
        world.steps(&[Run(Thread(1), 0), Enter(Thread(1))]);
        let patch = enable(&mut world);
        world.wait_stuck();

        let plan: Vec<_> = plan.iter().map(|step| (point, *step)).collect();
        world.kernel.interruptions.plan(&plan);
        world.tick();
        let points = world.kernel.interruptions.clear();
        world.check();
        if point > points {
            return points;
        }
        if !world.thread(1).user.get() {
            world.steps(&[Leave(Thread(1))]);
        }
        after(&mut world, point);
        world.wait();
        world.steps(&[Sleep(Thread(1))]);
        world.unload(patch);
        world.check_pristine();
    }
    unreachable!()
}

#[test]
fn a_child_that_an_attempt_does_not_meet() {
    let points = in_the_middle_of_an_attempt(&[Fork(Thread(1)), Leave(Thread(1))], |_, _| ());
    assert!(points >= 3, "{points} points");
}

/// A child inside changing code can't be moved.
#[test]
fn a_child_that_an_attempt_does_not_meet_may_be_inside() {
    let (child, cmdline) = (Thread(4), World::new().function("cmdline"));
    let plan = [
        Fork(Thread(1)),
        Run(child, 1),
        Call(child, cmdline),
        Leave(Thread(1)),
    ];
    let mut met = 0;
    let points = in_the_middle_of_an_attempt(&plan, |world, point| {
        let threads = world.kernel.machine.threads();
        if threads.iter().any(|task| task.id == child) {
            met += 1;
            assert_eq!(state(world, child), WAITING, "point {point}");
            world.steps(&[Return(child), Leave(child), Sleep(child)]);
        }
    });
    assert!(met >= 3, "inside after {met} of {points} points");
}

#[test]
fn current_task_is_looked_at_though_it_runs() {
    let mut world = World::new();
    world.steps(&[Run(Thread(1), 0), Enter(Thread(1))]);
    world.kernel.machine.current.set(Some(Thread(1)));
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    assert_eq!(state(&world, Thread(1)), MOVED);
    world.wait();
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn without_reliable_stacks_tasks_move_by_themselves() {
    let mut world = World::new();
    world.kernel.machine.reliable.set(false);
    let patch = enable(&mut world);
    assert!(
        !world
            .full_dmesg()
            .iter()
            .any(|line| line.starts_with(STUCK)),
        "C says nothing"
    );
    assert_eq!(state(&world, Thread(1)), WAITING);
    for task in [Thread(1), Thread(2)] {
        world.steps(&[Run(task, 0), Enter(task), Leave(task), Sleep(task)]);
    }
    world.settle();
    // The kthread never leaves the kernel, so it can't move.
    assert_eq!(state(&world, Thread(3)), WAITING);
    world.force(patch).unwrap();
    world.wait();
}

#[test]
fn idle_tasks_move_in_their_loop_or_offline() {
    let mut world = World::new();
    world.steps(&[Online(1, false)]);
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    assert_eq!(
        state(&world, Idle(1)),
        MOVED,
        "a CPU that is off is in no function"
    );
    assert_eq!(state(&world, Idle(0)), WAITING);
    let cpus = world.kernel.machine.cpus();
    assert!(cpus[0].woken.get());
    assert!(!cpus[1].woken.get());

    world.steps(&[IdleLoop(0)]);
    assert_eq!(state(&world, Idle(0)), MOVED);
    world.steps(&[Online(1, true)]);
    world.wait();

    // A CPU goes offline in the middle of a transition.
    world.write_enabled(patch, "0").unwrap();
    assert_eq!(state(&world, Idle(1)), (State::Patched, true));
    world.steps(&[Online(1, false), IdleLoop(0)]);
    world.tick();
    assert_eq!(state(&world, Idle(1)), IDLE);
    world.steps(&[Online(1, true)]);
    world.check();
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
}

#[test]
fn scheduler_moves_the_task_it_switches_away_from() {
    let mut world = World::new();
    let (cmdline, meminfo) = (world.function("cmdline"), world.function("meminfo"));
    world.steps(&[Run(Thread(3), 0), Call(Thread(3), cmdline)]);
    let patch = enable(&mut world);
    assert_eq!(state(&world, Thread(3)), WAITING);
    let _ = world.full_dmesg();

    // Inside the function the task stays.
    world.steps(&[Sleep(Thread(3)), Run(Thread(3), 0)]);
    assert_eq!(state(&world, Thread(3)), WAITING);
    let stuck = format!("{STUCK}task3:3 is sleeping on function cmdline");
    assert_eq!(world.full_dmesg(), [stuck]);

    // Inside another function it moves. A task that has moved is not looked at again.
    world.steps(&[
        Return(Thread(3)),
        Call(Thread(3), meminfo),
        Sleep(Thread(3)),
    ]);
    assert_eq!(state(&world, Thread(3)), MOVED);
    world.steps(&[Run(Thread(3), 0), Sleep(Thread(3))]);
    assert_eq!(world.full_dmesg(), [""; 0]);
    world.wait();
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn fork_in_each_state() {
    let mut world = World::new();
    let fork = |world: &mut World, parent: TaskId| {
        let next = world.kernel.machine.threads().last().unwrap().id;
        let Thread(next) = next else { unreachable!() };
        world.steps(&[Fork(parent)]);
        Thread(next + 1)
    };
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
    ]);
    world.steps(&[Run(Thread(2), 1), Enter(Thread(2))]);

    let child = fork(&mut world, Thread(1));
    assert_eq!(state(&world, child), IDLE, "no transition");

    let patch = enable(&mut world);
    world.steps(&[Leave(Thread(2)), Enter(Thread(2))]);
    let waiting = fork(&mut world, Thread(1));
    assert_eq!(state(&world, waiting), WAITING);
    assert_eq!(world.call(waiting, "cmdline"), "vmlinux:cmdline");
    let moved = fork(&mut world, Thread(2));
    assert_eq!(state(&world, moved), MOVED);
    assert_eq!(world.call(moved, "cmdline"), "one:cmdline");
    world.check();

    // The child's stack is empty, so an attempt moves it. The parent can't move.
    world.tick();
    assert_eq!(state(&world, waiting), MOVED);
    assert_eq!(state(&world, Thread(1)), WAITING);
    world.steps(&[
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
        Sleep(Thread(2)),
    ]);
    world.wait();
    world.unload(patch);
    world.check_pristine();
}

/// Waits for the next attempt. Returns the delay in milliseconds.
fn pause(world: &mut World) -> u64 {
    let before = world.kernel.machine.clock.get();
    world.settle();
    world.kernel.machine.clock.get() - before
}

#[test]
fn with_the_delays_of_the_c_core_stragglers_are_signalled_every_fifteen_seconds() {
    let mut world = inside();
    world.kernel.machine.delays.set(Delays::SLOW);
    world.thread(3).reliable.set(false);
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    let signals = |world: &World| [1, 2, 3].map(|number| world.thread(number).signals.get());
    let signaling = "livepatch: signaling remaining tasks".to_owned();
    let mut time = 0;
    while time < 47_000 {
        time += pause(&mut world);
        let rounds = time as usize / 15_000;
        assert_eq!(signals(&world), [rounds, 0, rounds], "after {time} ms");
        let said = world.dmesg().contains(&signaling);
        assert_eq!(said, time == 15_000, "said once, after {time} ms");
    }
    // A reversal restarts the count for the tasks that have moved.
    world.thread(2).reliable.set(false);
    world.write_enabled(patch, "0").unwrap();
    time = 0;
    while time < 16_000 {
        time += pause(&mut world);
        let round = time as usize / 15_000;
        let counts = signals(&world);
        assert_eq!(counts, [3, round, 3], "{time} ms after the turn");
        let said = world.dmesg().contains(&signaling);
        assert_eq!(said, time == 15_000, "said once, {time} ms after the turn");
    }
    world.thread(2).reliable.set(true);
    world.wait();
}

#[test]
fn attempts_come_soon_and_then_every_second() {
    let mut world = inside();
    let patch = world
        .insmod(&Recipe::of_kernel("one", &["cmdline"]))
        .unwrap();
    let pauses = |world: &mut World| [(); 9].map(|()| pause(world));
    let expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000];
    assert_eq!(pauses(&mut world), expected);
    // A reversal restarts the schedule, whatever was planned.
    world.thread(2).reliable.set(false);
    world.write_enabled(patch, "0").unwrap();
    assert_eq!(pauses(&mut world), expected);
    world.thread(2).reliable.set(true);
    world.wait();
}

#[test]
fn attempts_that_take_long_are_fewer() {
    for (effort, expected) in [
        (1, [10, 20, 41, 83, 167, 335, 671, 1000]),
        (5, [10, 50, 75, 155, 315, 635, 1000, 1000]),
        (40, [10, 400, 460, 960, 1000, 1000, 1000, 1000]),
        (200, [10, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    ] {
        let mut world = inside();
        world
            .insmod(&Recipe::of_kernel("one", &["cmdline"]))
            .unwrap();
        // One task is left to look at.
        world.kernel.machine.effort.set(effort);
        let pauses = [(); 8].map(|()| pause(&mut world) - effort);
        assert_eq!(pauses, expected, "{effort} ms each");
    }
}

#[test]
fn reversed_while_patching() {
    let mut world = inside();
    let before = world.snapshot();
    let patch = enable(&mut world);
    let _ = world.dmesg();
    world.write_enabled(patch, "0").unwrap();
    world.check();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'one': reversing transition from patching to unpatching",
            "livepatch: 'one': starting unpatching transition",
        ]
    );
    // A task that had not moved is at the new target already.
    assert_eq!(state(&world, Thread(1)), (State::Unpatched, false));
    assert_eq!(state(&world, Thread(2)), (State::Patched, true));
    world.wait();
    assert_eq!(
        world.dmesg(),
        [
            "livepatch: 'one': completing unpatching transition",
            "livepatch: 'one': unpatching complete",
        ]
    );
    world.run_deferred();
    world.rmmod(patch).unwrap();
    world.check_pristine();
    let after = world.snapshot();
    assert_eq!((after.tasks, after.sites), (before.tasks, before.sites));
}

#[test]
fn reversed_while_unpatching_and_back_and_forth() {
    let mut world = World::new();
    let patch = enable(&mut world);
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
    ]);
    let before = world.snapshot();
    let _ = world.dmesg();
    world.write_enabled(patch, "0").unwrap();
    world.wait_stuck();
    assert_eq!(
        state(&world, Thread(1)),
        (State::Patched, true),
        "inside the replacement"
    );
    assert_eq!(world.call(Thread(1), "cmdline"), "one:cmdline");
    assert_eq!(world.call(Thread(2), "cmdline"), "vmlinux:cmdline");
    for _ in 0..3 {
        world.write_enabled(patch, "1").unwrap();
        world.check();
        assert_eq!(world.write_enabled(patch, "1"), Err(EINVAL));
        world.write_enabled(patch, "0").unwrap();
        world.check();
    }
    world.write_enabled(patch, "1").unwrap();
    world.wait();
    let log = world.dmesg();
    assert_eq!(
        log[2..4],
        [
            "livepatch: 'one': reversing transition from unpatching to patching",
            "livepatch: 'one': starting patching transition",
        ]
    );
    assert_eq!(log.last().unwrap(), "livepatch: 'one': patching complete");
    let after = world.snapshot();
    assert_eq!((after.tasks, after.sites), (before.tasks, before.sites));
    assert_eq!(after.patches, before.patches);
    world.steps(&[
        Run(Thread(1), 0),
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
    ]);
    world.unload(patch);
    world.check_pristine();
}

/// After a reversal, tasks leave the version below, even if that belongs to another patch.
#[test]
fn reversed_on_top_of_another_patch() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["cmdline"]));
    let cmdline = world.function("cmdline");
    let call = [Enter(Thread(1)), Call(Thread(1), cmdline), Sleep(Thread(1))];
    world.steps(&[Run(Thread(1), 0)]);
    world.steps(&call);
    world.write_enabled(two, "0").unwrap();
    world.wait_stuck();
    world.steps(&[
        Run(Thread(2), 0),
        Enter(Thread(2)),
        Call(Thread(2), cmdline),
    ]);
    world.steps(&[Sleep(Thread(2))]);
    let inside = |world: &World, number| {
        let address = world.thread(number).stack.borrow()[0];
        world.kernel.code.at(address).unwrap().object.unwrap()
    };
    assert_eq!(
        (inside(&world, 1), inside(&world, 2)),
        ("two".to_owned(), "one".to_owned())
    );

    world.write_enabled(two, "1").unwrap();
    world.wait_stuck();
    assert_eq!(state(&world, Thread(2)), WAITING);
    world.steps(&[
        Run(Thread(2), 0),
        Return(Thread(2)),
        Leave(Thread(2)),
        Sleep(Thread(2)),
    ]);
    world.wait();
    world.steps(&[
        Run(Thread(1), 0),
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
    ]);
    world.unload(one);
    world.unload(two);
    world.check_pristine();
}

#[test]
fn forced_while_unpatching_keeps_the_module() {
    let mut world = World::new();
    let patch = enable(&mut world);
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
    ]);
    world.write_enabled(patch, "0").unwrap();
    let _ = world.dmesg();
    world.force(patch).unwrap();
    // All tasks have moved at once. The next attempt does the rest.
    assert_eq!(state(&world, Thread(1)), (State::Unpatched, false));
    assert_eq!(
        world.dmesg(),
        ["livepatch: forcing remaining tasks to the patched state"]
    );
    assert!(world.core.is_in_transition(patch));
    world.tick();
    assert!(!world.core.is_in_transition(patch));
    world.run_deferred();
    world.check_pristine();
    assert!(world.kernel.structures.patch(patch).forced);
    assert_eq!(
        world.rmmod(patch),
        Err(EBUSY),
        "thread 1 is still in its code"
    );
}

#[test]
fn forced_while_unpatching_keeps_no_other_module() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let two = world.load(&Recipe::of_kernel("two", &["cmdline"]).replacing());
    let three = world.load(&Recipe::of_kernel("three", &["meminfo"]));
    world.run_deferred();
    world.rmmod(one).unwrap();
    world.thread(1).reliable.set(false);
    world.write_enabled(two, "0").unwrap();
    world.force(two).unwrap();
    world.tick();
    world.check();
    let forced = |patch| world.kernel.structures.patch(patch).forced;
    assert_eq!((forced(two), forced(three)), (true, false));
    world.thread(1).reliable.set(true);
    world.run_deferred();
    world.unload(three);
    world.check_pristine();
}

#[test]
fn forced_while_patching_keeps_nothing() {
    let mut world = inside();
    let patch = enable(&mut world);
    world.force(patch).unwrap();
    world.tick();
    world.check();
    assert!(!world.kernel.structures.patch(patch).forced);
    world.steps(&[
        Run(Thread(1), 0),
        Return(Thread(1)),
        Leave(Thread(1)),
        Sleep(Thread(1)),
    ]);
    world.unload(patch);
    world.check_pristine();
}

#[test]
fn waits_for_all_cpus_as_often_as_needed() {
    let mut world = World::new();
    let count = |world: &World| world.kernel.machine.synchronizations.replace(0);
    let patch = enable(&mut world);
    assert_eq!(count(&world), 1, "before the states become idle");
    world.unload(patch);
    assert_eq!(count(&world), 1, "that way too");

    world.thread(1).reliable.set(false);
    let patch = enable(&mut world);
    assert_eq!(count(&world), 0);
    world.write_enabled(patch, "0").unwrap();
    assert_eq!(count(&world), 1, "nobody still moves the old way");
    world.wait();
    assert_eq!(count(&world), 1);
}

#[test]
fn without_a_stack_check_nobody_moves() {
    let mut world = World::new();
    let task = world.thread(1);
    task.set_state(State::Unpatched);
    task.set_pending();
    world.kernel.machine.current.set(Some(Thread(1)));
    let off = world.kernel.preemption_off();
    switch_if_pending(&world.kernel, &task, &off, Way::Stopper);
    drop(off);
    assert_eq!(state(&world, Thread(1)), WAITING);
    assert_eq!(world.full_dmesg(), [""; 0]);
}

#[test]
fn scheduler_leaves_tasks_alone_that_are_not_pending() {
    let mut world = inside();
    let patch = enable(&mut world);
    let task = world.thread(1);
    // The flag is clear for a moment while a transition is reversed.
    task.clear_pending();
    task.stack.borrow_mut().clear();
    let _ = world.full_dmesg();
    world.kernel.machine.current.set(Some(Thread(1)));
    let off = world.kernel.preemption_off();
    switch_if_pending(&world.kernel, &task, &off, Way::Stopper);
    drop(off);
    assert_eq!(state(&world, Thread(1)), (State::Unpatched, false));
    assert_eq!(world.full_dmesg(), [""; 0]);
    task.set_pending();
    world.wait();
    world.unload(patch);
}
