// SPDX-License-Identifier: GPL-2.0

//! The events that the core reports, and the counts of each transition.
#![cfg(not(loom))]

use host_tests::faults::Operation;
use host_tests::recipe::Recipe;
use host_tests::step::Step::{
    self, Call, Enter, Fork, IdleLoop, Leave, Look, Online, Return, Run, Sleep,
};
use host_tests::structures::PatchId;
use host_tests::tasks::TaskId::{Idle, Thread};
use host_tests::trace::Event;
use host_tests::world::World;
use livepatch_core::patch::Patch;
use livepatch_core::settle::Gear;
use livepatch_core::transition::{Counts, Direction, Way};

/// Returns an event in words.
fn words(event: Event) -> String {
    match event {
        Event::Enabled(patch) => format!("{patch} enabled"),
        Event::Disabled(patch) => format!("{patch} disabled"),
        Event::Replaced(patch, by) => format!("{patch} replaced by {by}"),
        Event::Started(patch, direction) => format!("{patch} {direction:?} started"),
        Event::Reversed(patch, direction) => format!("{patch} {direction:?} reversed"),
        Event::Forced(patch, direction) => format!("{patch} {direction:?} forced"),
        Event::Completed(patch, counts) => format!("{patch} {:?} completed", counts.direction()),
        Event::Attempted(patch, number, left, micros) => {
            format!("{patch} attempt {number}: {left} left, {micros} us")
        }
        Event::Moved(Thread(number), way) => format!("task {number} by {}", way.text()),
        Event::Moved(Idle(cpu), way) => format!("idle task {cpu} by {}", way.text()),
        Event::Geared(patch, gear) => format!("{patch} {}", Gear::text(Some(gear))),
    }
}

/// Returns the events since the last call, in words.
fn events(world: &World) -> Vec<String> {
    world.kernel.events.take().into_iter().map(words).collect()
}

/// Returns the events since the last call, without those of single tasks and attempts.
fn changes(world: &World) -> Vec<String> {
    let events = world.kernel.events.take().into_iter();
    let changes = events.filter(|event| !matches!(event, Event::Moved(..) | Event::Attempted(..)));
    changes.map(words).collect()
}

/// Starts to patch `cmdline`.
fn enable(world: &mut World) -> PatchId {
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    world.insmod(&recipe).unwrap()
}

/// Returns a patch that is listed.
fn patch(world: &World, patch: PatchId) -> &Patch<host_tests::simulation::Simulation> {
    let mut patches = world.core.patches().iter();
    patches.find(|own| own.id() == patch).expect("it is listed")
}

/// Returns the counts of the transition in progress.
fn current(world: &World, id: PatchId) -> Counts {
    let counts = patch(world, id).current_counts(&world.kernel);
    counts.expect("it is in transition")
}

/// Returns the counts of the last transition that is over.
fn last(world: &World, id: PatchId) -> Counts {
    let counts = patch(world, id).last_counts();
    counts.expect("a transition is over").clone()
}

/// Returns the number of moves by each way, in the order of [`Way::ALL`].
fn moves(counts: &Counts) -> [usize; 6] {
    Way::ALL.map(|way| counts.moves(way))
}

/// Sends the idle CPUs through their loops.
const IDLE_LOOPS: [Step; 2] = [IdleLoop(0), IdleLoop(1)];

#[test]
fn enabling_and_disabling_in_order() {
    let mut world = World::new();
    let one = enable(&mut world);
    assert_eq!(
        events(&world),
        [
            "one Patching started",
            "one enabled",
            "task 1 by attempt",
            "task 2 by attempt",
            "task 3 by attempt",
            "one attempt 1: 2 left, 0 us",
        ]
    );
    assert!(patch(&world, one).last_counts().is_none());
    world.steps(&IDLE_LOOPS);
    world.tick();
    let completed = [
        "idle task 0 by idle",
        "idle task 1 by idle",
        "one attempt 2: 0 left, 0 us",
        "one Patching completed",
    ];
    assert_eq!(events(&world), completed);
    assert!(patch(&world, one).current_counts(&world.kernel).is_none());

    world.write_enabled(one, "0").unwrap();
    let expected = ["one Unpatching started", "one disabled"];
    assert_eq!(events(&world)[..2], expected);
    world.steps(&IDLE_LOOPS);
    world.tick();
    let completed = completed.map(|line| line.replace("Patching", "Unpatching"));
    assert_eq!(events(&world), completed);
    world.check();
}

#[test]
fn a_transition_that_nobody_holds_up_is_counted() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let counts = last(&world, one);
    assert_eq!(counts.direction(), Direction::Patching);
    assert_eq!(counts.attempts(), 2);
    assert_eq!(counts.reversals(), 0);
    assert_eq!(counts.forks(), 0);
    assert_eq!(counts.micros(), 1000, "the second attempt is in a hurry");
    assert_eq!(moves(&counts), [3, 0, 2, 0, 0, 0]);
    let completed = world.kernel.events.take().pop();
    assert_eq!(completed, Some(Event::Completed("one".to_owned(), counts)));

    // The counts begin anew.
    world.write_enabled(one, "0").unwrap();
    let counts = current(&world, one);
    assert_eq!(counts.direction(), Direction::Unpatching);
    assert_eq!(counts.attempts(), 1);
    assert_eq!(moves(&counts), [3, 0, 0, 0, 0, 0]);
    assert_eq!(last(&world, one).attempts(), 2, "of the last transition");
}

#[test]
fn each_way_has_its_event_and_its_count() {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.kernel.machine.add_thread(true);
    world.steps(&[
        // Leaves the kernel later.
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Sleep(Thread(1)),
        // Is switched away from outside the function later.
        Run(Thread(2), 0),
        Enter(Thread(2)),
        Call(Thread(2), cmdline),
        Sleep(Thread(2)),
        // Is inside the function when the transition is forced.
        Run(Thread(3), 0),
        Call(Thread(3), cmdline),
        Sleep(Thread(3)),
        // Never sleeps.
        Run(Thread(4), 1),
    ]);
    let one = enable(&mut world);
    // The idle task of a busy CPU does not run.
    let moved = "idle task 1 by attempt".to_owned();
    assert!(events(&world).contains(&moved));

    world.steps(&[Look(1)]);
    assert_eq!(events(&world), ["task 4 by stopper"]);
    world.steps(&[Run(Thread(1), 0), Return(Thread(1)), Leave(Thread(1))]);
    world.steps(&[Sleep(Thread(1))]);
    assert_eq!(events(&world), ["task 1 by exit"]);
    world.steps(&[Run(Thread(2), 0), Return(Thread(2)), Sleep(Thread(2))]);
    assert_eq!(events(&world), ["task 2 by scheduler"]);
    world.steps(&[IdleLoop(0)]);
    assert_eq!(events(&world), ["idle task 0 by idle"]);
    world.tick();
    assert_eq!(events(&world), ["one attempt 2: 1 left, 0 us"]);
    world.force(one).unwrap();
    assert_eq!(events(&world), ["one Patching forced", "task 3 by force"]);
    assert_eq!(moves(&current(&world, one)), [1, 1, 1, 1, 1, 1]);
    world.wait();
    assert_eq!(
        events(&world),
        ["one attempt 3: 0 left, 0 us", "one Patching completed"]
    );
    let counts = last(&world, one);
    assert_eq!(moves(&counts), [1, 1, 1, 1, 1, 1]);
    assert_eq!(counts.attempts(), 3);
}

#[test]
fn moves_are_reported_once() {
    let mut world = World::new();
    world.thread(3).reliable.set(false);
    world.steps(&[Run(Thread(1), 0)]);
    enable(&mut world);
    world.steps(&[Enter(Thread(1)), Leave(Thread(1)), Enter(Thread(1))]);
    world.steps(&[Leave(Thread(1)), Sleep(Thread(1)), IdleLoop(0), IdleLoop(0)]);
    world.wait_stuck();
    let moved = |event: &String| !event.starts_with("one");
    let moved: Vec<_> = events(&world).into_iter().filter(moved).collect();
    assert_eq!(
        moved,
        [
            "task 2 by attempt",
            "idle task 0 by attempt",
            "task 1 by exit",
            "idle task 1 by idle",
        ]
    );
}

#[test]
fn an_attempt_moves_the_idle_task_of_an_offline_cpu() {
    let mut world = World::new();
    let one = enable(&mut world);
    let _ = events(&world);
    world.steps(&[Online(1, false), IdleLoop(0)]);
    world.tick();
    assert_eq!(
        events(&world),
        [
            "idle task 0 by idle",
            "idle task 1 by attempt",
            "one attempt 2: 0 left, 0 us",
            "one Patching completed",
        ]
    );
    assert_eq!(moves(&last(&world, one)), [4, 0, 1, 0, 0, 0]);
}

#[test]
fn a_reversal_is_part_of_the_transition() {
    let mut world = World::new();
    world.thread(3).reliable.set(false);
    let one = enable(&mut world);
    world.settle();
    assert_eq!(current(&world, one).reversals(), 0);
    world.write_enabled(one, "0").unwrap();
    world.write_enabled(one, "1").unwrap();
    world.write_enabled(one, "0").unwrap();
    world.wait();
    assert_eq!(
        changes(&world),
        [
            "one Patching started",
            "one enabled",
            "one disabled",
            "one Unpatching reversed",
            "one enabled",
            "one Patching reversed",
            "one disabled",
            "one Unpatching reversed",
            "one Unpatching completed",
        ]
    );
}

#[test]
fn counts_go_on_after_a_reversal() {
    let mut world = World::new();
    world.thread(3).reliable.set(false);
    let one = enable(&mut world);
    world.settle();
    world.write_enabled(one, "0").unwrap();
    world.settle();
    world.write_enabled(one, "1").unwrap();
    world.thread(3).reliable.set(true);
    world.wait();
    let counts = last(&world, one);
    assert_eq!(counts.direction(), Direction::Patching);
    assert_eq!(counts.reversals(), 2);
    // The two user's tasks move three times, the kthread once.
    assert_eq!(counts.moves(Way::Attempt), 7);
    assert_eq!(counts.attempts(), 4);
    assert_eq!(counts.micros(), world.kernel.machine.clock.get() * 1000);
}

#[test]
fn replacing_is_not_disabling() {
    let mut world = World::new();
    world.load(&Recipe::of_kernel("one", &["cmdline"]));
    world.load(&Recipe::of_kernel("two", &["meminfo"]));
    let _ = changes(&world);
    world.load(&Recipe::of_kernel("all", &["cmdline"]).replacing());
    assert_eq!(
        changes(&world),
        [
            "all Patching started",
            "all enabled",
            "one replaced by all",
            "two replaced by all",
            "all Patching completed",
        ]
    );
}

#[test]
fn what_fails_is_not_reported() {
    let mut world = World::new();
    let faults = &world.kernel.faults;
    faults.after(Operation::Register, 0, kernel::error::code::ENOMEM);
    let recipe = Recipe::of_kernel("one", &["cmdline"]);
    world.insmod(&recipe).unwrap_err();
    assert_eq!(events(&world), [""; 0]);
}

#[test]
fn the_gear_is_reported_when_it_changes() {
    let mut world = World::new();
    let one = world.load(&Recipe::of_kernel("one", &["cmdline"]));
    let _ = events(&world);
    for gear in [Gear::Settled, Gear::Handler, Gear::Handler, Gear::Settled] {
        world.core.set_gear(&world.kernel, one, gear).unwrap();
    }
    assert_eq!(events(&world), ["one handler", "one settled"]);
}

#[test]
fn children_are_counted_while_their_parent_has_not_moved() {
    let mut world = World::new();
    let cmdline = world.function("cmdline");
    world.steps(&[
        Run(Thread(1), 0),
        Enter(Thread(1)),
        Call(Thread(1), cmdline),
        Fork(Thread(1)),
    ]);
    let one = enable(&mut world);
    assert_eq!(current(&world, one).forks(), 0, "there was no transition");
    world.steps(&[Fork(Thread(1)), Fork(Thread(1))]);
    assert_eq!(current(&world, one).forks(), 2);
    world.steps(&[Return(Thread(1)), Leave(Thread(1)), Enter(Thread(1))]);
    world.steps(&[Fork(Thread(1)), Sleep(Thread(1))]);
    assert_eq!(current(&world, one).forks(), 2);
    world.wait();
    let counts = last(&world, one);
    assert_eq!(counts.forks(), 2);
    // Threads 2 to 6 and the idle task of the parent's CPU. The last child moved with its parent.
    assert_eq!(moves(&counts), [6, 1, 1, 0, 0, 0]);
}

#[test]
fn attempts_take_time() {
    let mut world = World::new();
    world.kernel.machine.effort.set(2);
    enable(&mut world);
    let attempts = events(&world);
    // A look at each of three tasks, twice, and at two idle tasks.
    let expected = "one attempt 1: 2 left, 10000 us";
    assert!(attempts.contains(&expected.to_owned()), "{attempts:?}");
}

/// The moves that an attempt makes itself are not those that it waits for.
#[test]
fn an_attempt_does_not_wait_for_its_own_moves() {
    let mut world = World::new();
    world.thread(3).reliable.set(false);
    enable(&mut world);
    world.steps(&IDLE_LOOPS);
    world.settle();
    let hurried = world.kernel.machine.hurried.get();
    // Two more tasks that this attempt moves. It waits for one that does not move.
    for number in [1, 2] {
        let task = world.thread(number);
        livepatch_core::task::Task::set_state(&*task, livepatch_core::task::State::Unpatched);
        livepatch_core::task::Task::set_pending(&*task);
    }
    world.settle();
    assert_eq!(world.kernel.machine.hurried.get(), hurried);
}
