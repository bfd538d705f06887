// SPDX-License-Identifier: GPL-2.0

//! Early attempts: the first attempts come soon after the start of a transition.
//!
//! The C core has no counterpart: it makes one attempt per second.

use super::SECOND;

/// What the core asks of a clock that tells how long an attempt takes.
pub trait Stopwatch {
    /// Whether this kernel is built with early attempts. Otherwise there is one attempt per second.
    const EARLY: bool;

    /// A moment.
    type Instant;

    /// Returns this moment.
    fn now(&self) -> Self::Instant;
    /// Returns the time that has passed since then, in milliseconds.
    fn elapsed(&self, since: &Self::Instant) -> u64;
}

/// Returns how long to wait after an attempt that took `took`.
///
/// `waited` is the total wait before that attempt since the transition started or was reversed.
///
/// Nearly all tasks that don't move in the first attempt were merely running and move by themselves
/// within milliseconds. The transition then only needs another attempt. So the first attempts come
/// soon, each after twice the delay of the one before. After the first second there is one attempt
/// per second.
///
/// That makes six attempts more than a fixed rate of one per second. An attempt takes some
/// microseconds for each task and lets other tasks run meanwhile. With very many tasks, the
/// attempts of the first second could take more than a tenth of a CPU. They then come later, or not
/// at all.
pub(super) fn next_delay<K: Stopwatch>(waited: u64, took: u64) -> u64 {
    if !K::EARLY {
        return SECOND;
    }
    let soon = waited.saturating_add(10).max(took.saturating_mul(10));
    soon.min(SECOND.saturating_sub(waited % SECOND))
}
