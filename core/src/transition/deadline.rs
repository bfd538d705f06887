// SPDX-License-Identifier: GPL-2.0

//! Deadline: a transition that has not ended in time is turned round.
//!
//! The attempts watch the clock. An attempt that leaves tasks behind after the deadline reverses
//! the transition, as the administrator would. So the attempt comes first: a transition that can
//! end ends. The core's lock is held, so the deadline and the administrator do not get in each
//! other's way: whichever comes first has its way, and the other finds the outcome.
//!
//! The time counts from the start of the transition. If the administrator reverses it, the time
//! counts anew. A transition that was turned round here has no deadline. So it never goes back and
//! forth, and ends up where all tasks were before.
//!
//! The C core has no counterpart.

// Without the attribute `deadline` nothing sets a deadline.
#![cfg_attr(
    all(CONFIG_LIVEPATCH, not(CONFIG_LIVEPATCH_DEADLINE)),
    allow(dead_code)
)]

use super::{
    super::{
        patch::Patch,
        registry::{
            Core,
            Selected, //
        },
        Kernel, //
    },
    blockers::{
        names,
        Blockers,
        Escaped,
        Reason,
        Symbol, //
    },
    Transition,
    SECOND, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// How many tasks the message names.
const MOST_NAMED: usize = 4;

/// How long a transition may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time in seconds. 0 is no limit.
    seconds: u32,
}

impl Deadline {
    /// A transition may take as long as it needs.
    pub const OFF: Self = Self { seconds: 0 };

    /// A transition may take this many seconds. 0 is no limit.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self { seconds }
    }

    /// Parses `off` or a number of seconds, which is not 0. A trailing newline is allowed. Errors:
    /// `EINVAL`.
    pub fn parse(input: &[u8]) -> Result<Self> {
        let input = input.strip_suffix(b"\n").unwrap_or(input);
        if input == b"off" {
            return Ok(Self::OFF);
        }
        let mut seconds = 0u32;
        for digit in input {
            if !digit.is_ascii_digit() {
                return Err(EINVAL);
            }
            let digit = u32::from(digit.wrapping_sub(b'0'));
            let tens = seconds.checked_mul(10).ok_or(EINVAL)?;
            seconds = tens.checked_add(digit).ok_or(EINVAL)?;
        }
        match seconds {
            0 => Err(EINVAL),
            seconds => Ok(Self { seconds }),
        }
    }

    /// Returns the time in milliseconds. `None` is no limit.
    fn limit(self) -> Option<u64> {
        match self.seconds {
            0 => None,
            seconds => Some(u64::from(seconds).saturating_mul(SECOND)),
        }
    }
}

/// As [`Deadline::parse`] reads it.
impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            0 => f.write_str("off"),
            seconds => f.write_fmt(fmt!("{}", seconds)),
        }
    }
}

/// Returns the pause before the next attempt: `delay`, but not beyond the deadline. A deadline that
/// is over needs an attempt now.
pub(super) fn shorten(delay: u64, left: Option<u64>) -> u64 {
    match left {
        // A pause of a second need not be exact, and may take nearly two. See `retry_later`.
        Some(left) if left < 2 * SECOND => delay.min(left).clamp(1, SECOND - 1),
        _ => delay,
    }
}

impl<K: Kernel> Transition<K> {
    /// Returns the time until the deadline in milliseconds. `None` if there is no deadline.
    pub(super) fn time_left(&self, kernel: &K, deadline: Deadline) -> Option<u64> {
        if !K::DEADLINES || self.turned_round {
            return None;
        }
        let limit = deadline.limit()?;
        Some(limit.saturating_sub(self.pace.waited(kernel)))
    }
}

impl<K: Kernel> Core<K> {
    /// Returns the deadline of `patch`. A patch that is not listed has none.
    pub fn deadline(&self, patch: K::PatchId) -> Deadline {
        self.find(patch).map_or(Deadline::OFF, |own| own.deadline)
    }

    /// Sets the deadline of `patch`, for a transition in progress too. Errors: `EINVAL` if the
    /// patch is not listed.
    pub fn set_deadline(&mut self, kernel: &K, patch: K::PatchId, deadline: Deadline) -> Result {
        let own = self.select(|own| own.id() == patch).ok_or(EINVAL)?;
        own.patch.deadline = deadline;
        let Some(transition) = &own.patch.transition else {
            return Ok(());
        };
        let left = transition.time_left(kernel, deadline);
        // The attempt that was asked for may come after the deadline.
        if left.is_some_and(|left| left < 2 * SECOND) {
            let delay = transition
                .pace
                .next_delay(transition.pace.waited(kernel), 0);
            kernel.retry_later(shorten(delay, left));
        }
        Ok(())
    }
}

impl<K: Kernel> Selected<'_, K> {
    /// Turns the transition round, whose deadline is over, and says which tasks have not moved.
    pub(super) fn turn_round(&mut self, kernel: &K) {
        let Some(transition) = &self.patch.transition else {
            return;
        };
        let blockers = Blockers::find(kernel, Some(transition), MOST_NAMED);
        if blockers.left == 0 {
            // The tasks have moved since the attempt. The next one ends the transition.
            kernel.retry_later(1);
            return;
        }
        let tasks = Summary {
            kernel,
            patch: &*self.patch,
            blockers: &blockers,
        };
        pr_warn!(
            "'{}': {} transition has not ended after {} s, turning it round. Tasks left: {}\n",
            self.patch.name,
            transition.direction.verb(),
            self.patch.deadline,
            tasks
        );
        self.reverse(kernel);
        if let Some(transition) = &mut self.patch.transition {
            transition.turned_round = true;
        }
    }
}

/// The tasks that have not moved, for a message in one line.
struct Summary<'a, K: Kernel> {
    kernel: &'a K,
    patch: &'a Patch<K>,
    blockers: &'a Blockers,
}

impl<K: Kernel> fmt::Display for Summary<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blockers = self.blockers;
        if blockers.list.is_empty() {
            return f.write_fmt(fmt!("{}", blockers.left));
        }
        for (index, blocker) in blockers.list.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            let task = &blocker.task;
            f.write_fmt(fmt!("{}:{} ", Escaped(task.name()), task.thread))?;
            match blocker.reason {
                Reason::Running(cpu) => f.write_fmt(fmt!("running on CPU {}", cpu)),
                Reason::Asleep(number) => {
                    let (function, object) = names(self.patch, number);
                    f.write_fmt(fmt!(
                        "asleep in {} of {}",
                        Escaped(function),
                        Escaped(object)
                    ))
                }
                Reason::Unreliable(address) => {
                    f.write_fmt(fmt!("unreliable stack at {}", Symbol(self.kernel, address)))
                }
                Reason::Unchecked => f.write_str("stack not checked"),
                Reason::Ready => f.write_str("not yet scheduled"),
            }?;
        }
        match blockers.more() {
            0 => Ok(()),
            more => f.write_fmt(fmt!(" and {} more", more)),
        }
    }
}
