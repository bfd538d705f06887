// SPDX-License-Identifier: GPL-2.0

//! What happens to a patch and its tasks: events for tracepoints, and counts of each transition.
//!
//! | what | where it comes from |
//! |---|---|
//! | a patch is enabled, disabled or replaced | the value of `enabled` changes |
//! | a transition starts, is reversed, forced or completed | [`Record`] and its owner |
//! | an attempt | the owner of the [`Record`] |
//! | a task has moved | [`moved`](super::moved) |
//! | the gear has changed | [`Core::set_gear`](super::super::registry::Core::set_gear) |
//!
//! The moves are counted in [`Tally`], since most of them happen without the core's lock. The count
//! of a transition begins at 0 before the first task can move. A task is counted while preemption
//! is off, from before its flag is read. The end of the transition waits for that, so no move is
//! missing in the final [`Counts`].
//!
//! The counts explain a transition and decide nothing. A task that is moved by force at the moment
//! at which its stack is looked at may be counted by both ways.
//!
//! A child starts in the state of its parent. If the parent has not moved, the child is one more
//! task to wait for, and is counted as a fork. If the parent has moved, there is nothing to wait
//! for, and the child is not counted.
//!
//! The C core has no counterpart.

// Without tracepoints nothing prints the counts.
#![cfg_attr(all(CONFIG_LIVEPATCH, not(CONFIG_LIVEPATCH_TRACE)), allow(dead_code))]

use super::{
    super::{
        patch::Patch,
        settle::Gear,
        symbol::Name,
        Kernel, //
    },
    Direction,
    Early,
    Transition, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The way by which a task has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// An attempt: none of the changing functions is on the task's stack, or its CPU is offline.
    Attempt,
    /// The task was about to leave the kernel for user mode.
    Exit,
    /// The idle loop.
    Idle,
    /// The scheduler switched away from the task, and looked at its stack.
    Scheduler,
    /// The stopper took the task [off its CPU](super::Busy::take_off_cpu), and looked at its stack.
    Stopper,
    /// The administrator forced the transition.
    Force,
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 6] = [
        Self::Attempt,
        Self::Exit,
        Self::Idle,
        Self::Scheduler,
        Self::Stopper,
        Self::Force,
    ];

    /// Returns the name of the way.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Exit => "exit",
            Self::Idle => "idle",
            Self::Scheduler => "scheduler",
            Self::Stopper => "stopper",
            Self::Force => "force",
        }
    }
}

/// What the core reports.
///
/// No method may sleep. Each method but [`Self::task_moved`] is called with the core's lock held.
pub trait Trace: Early {
    /// Whether this kernel counts the moves. Otherwise the numbers of moves and all times are 0.
    const COUNTS: bool = false;

    /// Returns the time that has passed since then, in microseconds.
    fn micros(&self, since: &Self::Instant) -> u64 {
        self.elapsed(since).saturating_mul(1000)
    }

    /// The administrator or the patch's module has enabled the patch.
    fn patch_enabled(&self, _patch: &Name) {}
    /// The administrator has disabled the patch.
    fn patch_disabled(&self, _patch: &Name) {}
    /// The patch is disabled because `_by` has replaced it.
    fn patch_replaced(&self, _patch: &Name, _by: &Name) {}

    /// The tasks are about to move.
    fn transition_started(&self, _patch: &Name, _direction: Direction) {}
    /// The tasks are about to move in the other direction, which is `_direction` now.
    fn transition_reversed(&self, _patch: &Name, _direction: Direction) {}
    /// All tasks are about to be moved, wherever they are.
    fn transition_forced(&self, _patch: &Name, _direction: Direction) {}
    /// The transition is over.
    fn transition_completed(&self, _patch: &Name, _counts: &Counts) {}

    /// The transition's `_number`-th attempt, counted from 1, took `_micros` microseconds and found
    /// that `_left` tasks have not moved.
    fn attempted(&self, _patch: &Name, _number: u64, _left: usize, _micros: u64) {}

    /// The task has moved. The caller may be anywhere: in the scheduler, or with interrupts off.
    fn task_moved(&self, _task: &Self::Task, _way: Way) {}

    /// The administrator has changed the gear of the patch.
    fn gear_changed(&self, _patch: &Name, _gear: Gear) {}
}

/// The moves of the transition in progress, or of the last one.
///
/// All accesses are relaxed: the counts order nothing. [`Shared`](super::super::task::Shared) has
/// the only one.
pub(crate) struct Tally {
    /// One for each of [`Way::ALL`].
    moves: [Atomic<usize>; Way::ALL.len()],
    forks: Atomic<usize>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self {
            moves: [const { Atomic::new(0) }; Way::ALL.len()],
            forks: Atomic::new(0),
        }
    }

    fn reset(&self) {
        for moves in &self.moves {
            moves.store(0, Relaxed);
        }
        self.forks.store(0, Relaxed);
    }

    /// Counts a move.
    pub(super) fn count(&self, way: Way) {
        if let Some(moves) = self.moves.get(way as usize) {
            moves.add(1, Relaxed);
        }
    }

    /// Counts a child of a task that has not moved.
    pub(crate) fn count_fork(&self) {
        self.forks.add(1, Relaxed);
    }
}

/// What has happened in a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    direction: Direction,
    micros: u64,
    attempts: u64,
    reversals: u64,
    moves: [usize; Way::ALL.len()],
    forks: usize,
}

impl Counts {
    /// Returns the direction, which is the last one if the transition was reversed.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns the time since the start of the transition, or how long it took, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// Returns the number of attempts.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Returns how often the transition was reversed.
    pub fn reversals(&self) -> u64 {
        self.reversals
    }

    /// Returns the number of moves by this way. After a reversal, a task that has moved before
    /// moves again.
    pub fn moves(&self, way: Way) -> usize {
        self.moves.get(way as usize).copied().unwrap_or(0)
    }

    /// Returns the number of children that were forked by tasks that had not moved.
    pub fn forks(&self) -> usize {
        self.forks
    }
}

/// What a transition notes for its [`Counts`].
pub(super) struct Record<I> {
    /// When the tasks could move for the first time. `None`: not yet.
    start: Option<I>,
    attempts: u64,
    reversals: u64,
}

impl<I> Record<I> {
    /// Begins to count. No task can move yet.
    pub(super) fn new<K: Trace<Instant = I>>(kernel: &K) -> Self {
        if K::COUNTS {
            kernel.shared().tally.reset();
        }
        Self {
            start: None,
            attempts: 0,
            reversals: 0,
        }
    }

    /// Takes note that the tasks are about to move. Every call but the first is a reversal.
    pub(super) fn start<K>(&mut self, kernel: &K, patch: &Name, direction: Direction)
    where
        K: Trace<Instant = I>,
    {
        if self.start.is_some() {
            self.reversals = self.reversals.saturating_add(1);
            kernel.transition_reversed(patch, direction);
        } else {
            self.start = Some(kernel.now());
            kernel.transition_started(patch, direction);
        }
    }

    /// Takes note of an attempt that began at `begin` and left `left` tasks behind.
    pub(super) fn attempted<K>(&mut self, kernel: &K, patch: &Name, begin: &I, left: usize)
    where
        K: Trace<Instant = I>,
    {
        self.attempts = self.attempts.saturating_add(1);
        kernel.attempted(patch, self.attempts, left, micros(kernel, begin));
    }
}

/// Returns the time that has passed since then, in microseconds, if this kernel counts.
fn micros<K: Trace>(kernel: &K, since: &K::Instant) -> u64 {
    match K::COUNTS {
        true => kernel.micros(since),
        false => 0,
    }
}

impl<K: Kernel> Transition<K> {
    /// Returns what has happened so far. `None` if the transition has not started.
    pub(super) fn counts(&self, kernel: &K) -> Option<Counts> {
        let Record {
            start,
            attempts,
            reversals,
        } = &self.record;
        let tally = &kernel.shared().tally;
        Some(Counts {
            direction: self.direction,
            micros: micros(kernel, start.as_ref()?),
            attempts: *attempts,
            reversals: *reversals,
            moves: tally.moves.each_ref().map(|moves| moves.load(Relaxed)),
            forks: tally.forks.load(Relaxed),
        })
    }
}

impl<K: Kernel> Patch<K> {
    /// Returns what has happened so far in the transition in progress. `None` if there is none.
    pub fn current_counts(&self, kernel: &K) -> Option<Counts> {
        self.transition.as_ref()?.counts(kernel)
    }

    /// Returns what has happened in the patch's last transition that is over. `None` if there was
    /// none.
    pub fn last_counts(&self) -> Option<&Counts> {
        self.last_counts.as_ref()
    }

    /// Sets whether the patch is enabled or is being enabled, and reports it.
    pub(crate) fn set_enabled_and_report(&mut self, kernel: &K, enabled: bool) {
        self.set_enabled(kernel, enabled);
        match enabled {
            true => kernel.patch_enabled(&self.name),
            false => kernel.patch_disabled(&self.name),
        }
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_trace)]
mod tests {
    use super::*;

    fn moves(tally: &Tally) -> [usize; 6] {
        tally.moves.each_ref().map(|moves| moves.load(Relaxed))
    }

    #[test]
    fn each_way_has_a_count_of_its_own() {
        let tally = Tally::new();
        for (index, way) in Way::ALL.iter().enumerate() {
            for _ in 0..=index {
                tally.count(*way);
            }
        }
        tally.count_fork();
        assert_eq!(moves(&tally), [1, 2, 3, 4, 5, 6]);
        assert_eq!(tally.forks.load(Relaxed), 1);
        tally.reset();
        assert_eq!(moves(&tally), [0; 6]);
        assert_eq!(tally.forks.load(Relaxed), 0);
    }

    #[test]
    fn each_way_has_a_name_of_its_own() {
        let names = Way::ALL.map(Way::text);
        for (index, name) in names.iter().enumerate() {
            assert_eq!(names.iter().position(|other| other == name), Some(index));
        }
    }
}
