// SPDX-License-Identifier: GPL-2.0

//! Early attempts: a transition ends as soon as it can.
//!
//! An attempt leaves tasks behind. Each of them moves at a place that the core knows: on its way to
//! user mode, in the idle loop, or where the scheduler switches away from it. So the attempt says
//! for how many moves it waits ([`Moves`]), and the last of these tasks asks for the next attempt.
//! Nothing else has to find out that the transition can end.
//!
//! That count is a hint. A task that exits may not move at all, and a child that was forked by a
//! task that has not moved is not counted. So attempts also come by themselves, with pauses that
//! grow from [`Delays::attempt`] to a second.
//!
//! A user's task that runs on another CPU is sent through the kernel ([`Early::kick`]). A task that
//! sleeps inside a changing function gets a signal after [`Delays::signal`], and again after twice
//! the time, up to what the C core does.
//!
//! The C core has no counterpart: it makes one attempt per second and signals every 15 seconds.

use super::{
    super::task::Tasks,
    Trace,
    Way,
    SECOND,
    SIGNALS_TIMEOUT, //
};
use kernel::sync::{
    atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    },
    barrier::smp_mb, //
};

/// How soon attempts and signals come, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The pause before the second attempt, 1 to 1000. Each further pause is about twice as long,
    /// up to a second.
    pub attempt: u64,
    /// The time until the first signals, 1 to 15000. Each further round comes after twice the time,
    /// up to 15 seconds.
    pub signal: u64,
}

impl Delays {
    /// The delays of the C core.
    pub const SLOW: Self = Self {
        attempt: SECOND,
        signal: SIGNALS_TIMEOUT,
    };
}

/// What the core asks of the clock and the CPUs to end a transition early.
pub trait Early: Tasks {
    /// Whether this kernel is built with early attempts. Otherwise there is one attempt per second,
    /// and only the clock below is used.
    const EARLY: bool;

    /// A moment.
    type Instant;

    /// Returns this moment.
    fn now(&self) -> Self::Instant;
    /// Returns the time that has passed since then, in milliseconds.
    fn elapsed(&self, since: &Self::Instant) -> u64;

    /// Returns how soon attempts and signals come.
    fn delays(&self) -> Delays {
        Delays::SLOW
    }
    /// Makes the next attempt that [`Clock::retry_later`](super::Clock::retry_later) has scheduled
    /// come now. The caller may be anywhere: in the scheduler, or with interrupts off.
    fn retry_now(&self) {}
    /// Sends `task` through the kernel if it is in user mode on another CPU.
    fn kick(&self, _task: &Self::Task) {}
}

/// Counts the moves of tasks that no attempt has made, and knows for which move the next attempt
/// waits.
///
/// # Memory ordering
///
/// A task that moves counts its move and then reads the number that is waited for. An attempt
/// stores that number and then reads the count. Both have a full barrier in between, so at least
/// one of the two sees the other. Then the last move asks for an attempt, or the attempt sees that
/// the last move was made already.
///
/// An attempt reads the count, with acquire, before it looks at the tasks. The full barrier of the
/// count is also a release. So a task whose move is in that count is seen to have moved, and is not
/// waited for.
pub(crate) struct Moves {
    made: Atomic<usize>,
    wanted: Atomic<usize>,
}

impl Moves {
    pub(crate) const fn new() -> Self {
        Self {
            made: Atomic::new(0),
            wanted: Atomic::new(0),
        }
    }

    /// Returns the number of moves so far. The caller sees them.
    fn made(&self) -> usize {
        self.made.load(Acquire)
    }

    /// Counts a move. Returns whether it is the one that is waited for.
    fn count(&self) -> bool {
        // Full: orders the count before the load, see the documentation of the type.
        let made = self.made.fetch_add(1, Full).wrapping_add(1);
        made == self.wanted.load(Relaxed)
    }

    /// Waits for `left` moves after the first `before`. Returns whether they were made meanwhile:
    /// then no move will say so.
    fn wait_for(&self, before: usize, left: usize) -> bool {
        self.wanted.store(before.wrapping_add(left), Relaxed);
        // Order the store before the load of the count, see the documentation of the type.
        smp_mb(Full);
        self.made.load(Relaxed).wrapping_sub(before) >= left
    }
}

/// Says that a task has moved, and by which way. The caller may be anywhere: in the scheduler, or
/// with interrupts off. It has preemption off since before the move, or holds the core's lock.
///
/// An attempt does not wait for the moves that it makes itself, so these don't count in [`Moves`].
pub fn moved<K: Trace>(kernel: &K, task: &K::Task, way: Way) {
    let shared = kernel.shared();
    if K::COUNTS {
        shared.tally.count(way);
    }
    kernel.task_moved(task, way);
    if K::EARLY && way != Way::Attempt && shared.moves.count() {
        kernel.retry_now();
    }
}

/// What one attempt has found.
pub(super) struct Attempt {
    /// The number of moves before the attempt.
    before: usize,
    /// The number of tasks that have not moved.
    pub(super) left: usize,
}

impl Attempt {
    pub(super) fn new<K: Early>(kernel: &K) -> Self {
        Self {
            before: kernel.shared().moves.made(),
            left: 0,
        }
    }

    /// Takes note of a task that has not moved.
    pub(super) fn leave<K: Early>(&mut self, kernel: &K, task: &K::Task) {
        self.left = self.left.saturating_add(1);
        if K::EARLY {
            kernel.kick(task);
        }
    }

    /// Has the last of the tasks that have not moved ask for the next attempt.
    ///
    /// A task may move by itself before the attempt has looked at it. Then the next attempt comes
    /// one task too soon, and counts anew.
    pub(super) fn wait<K: Early>(&self, kernel: &K) {
        if K::EARLY && kernel.shared().moves.wait_for(self.before, self.left) {
            kernel.retry_now();
        }
    }
}

/// Which round of signals is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// One that comes before the C core's first.
    Early,
    /// The C core's first.
    First,
    /// A later one.
    Later,
}

/// When the attempts and signals of a transition come. All times are in milliseconds.
pub(super) struct Pace<I> {
    /// When the transition started or was reversed.
    start: I,
    delays: Delays,
    /// The time from the start until the next round of signals.
    due: u64,
    /// The last round of signals.
    last: Option<Round>,
    /// The number of rounds of signals so far.
    rounds: u64,
}

impl<I> Pace<I> {
    pub(super) fn new<K: Early<Instant = I>>(kernel: &K) -> Self {
        let delays = match K::EARLY {
            true => kernel.delays(),
            false => Delays::SLOW,
        };
        Self {
            start: kernel.now(),
            delays,
            due: delays.signal,
            last: None,
            rounds: 0,
        }
    }

    /// Returns the time since the start.
    pub(super) fn waited<K: Early<Instant = I>>(&self, kernel: &K) -> u64 {
        kernel.elapsed(&self.start)
    }

    /// Returns how long to wait after an attempt that began `waited` after the start and took
    /// `took`.
    ///
    /// Most tasks that don't move in the first attempt were merely running and move by themselves
    /// within milliseconds. So the first attempts come soon, each after about twice the delay of
    /// the one before, until there is one attempt per second.
    ///
    /// An attempt takes some microseconds for each task and lets other tasks run meanwhile. With
    /// very many tasks, early attempts could take more than a tenth of a CPU. They then come later.
    pub(super) fn next_delay(&self, waited: u64, took: u64) -> u64 {
        let soon = waited.saturating_add(self.delays.attempt);
        soon.max(took.saturating_mul(10)).clamp(1, SECOND)
    }

    /// Returns the round of signals that is due, and expects the next one after twice the time. A
    /// round comes 15 seconds after the start at the latest, and then every 15 seconds, as in the C
    /// core.
    pub(super) fn signals(&mut self, waited: u64) -> Option<Round> {
        if waited < self.due {
            return None;
        }
        let round = match self.last {
            _ if waited < SIGNALS_TIMEOUT => Round::Early,
            None | Some(Round::Early) => Round::First,
            Some(Round::First | Round::Later) => Round::Later,
        };
        let full = waited.saturating_add(SIGNALS_TIMEOUT.saturating_sub(waited % SIGNALS_TIMEOUT));
        self.due = waited.saturating_mul(2).min(full);
        self.last = Some(round);
        self.rounds = self.rounds.saturating_add(1);
        Some(round)
    }

    /// Returns the number of rounds of signals so far.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }
}
