// SPDX-License-Identifier: GPL-2.0

//! Scenarios: bounded configurations, each of which is searched exhaustively.
//!
//! What each thread, the administrator and the module loader may do is a little program. They are
//! interleaved in every possible way, also in the middle of the core's operations.

use host_tests::recipe::Recipe;

/// The functions that tasks call, by number.
pub const FUNCTIONS: [(Option<&str>, &str); 4] = [
    (None, "read"),
    (None, "copy"),
    (Some(MODULE), "show"),
    (Some(MODULE), "store"),
];

/// Calls [`COPY`].
pub const READ: u8 = 0;
/// Called by [`READ`] and by itself.
pub const COPY: u8 = 1;
/// In the module.
pub const SHOW: u8 = 2;

/// The module.
pub const MODULE: &str = "target";

/// Threads that there can be, and CPUs.
pub const THREADS: usize = 4;
/// CPUs.
pub const CPUS: usize = 2;
/// Administrators and module loaders.
pub const ACTORS: usize = 3;

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Calls a function.
    Call(u8),
    /// Returns from it.
    Return,
    /// Gives up its CPU, and gets it back later.
    Sleep,
    /// Leaves for user mode, and comes back.
    Leave,
    /// Forks; the child is the last of the threads.
    Fork,
    /// Exits.
    Exit,
    /// Is preempted, where the scheduler does not try to move it, and gets its CPU back later.
    Preempted,
    /// Begins again.
    Again,
    /// Does the next or not; with a call, all up to its return.
    Maybe,
}

/// What the administrator or the module loader does: each needs the core's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Loads a livepatch, while there is no transition.
    Insmod(u8),
    /// Disables a livepatch, while there is no transition.
    Disable(u8),
    /// Turns the transition round.
    Reverse,
    /// Forces the transition.
    Force,
    /// Loads the module.
    Load,
    /// Unloads it, while nobody is in it.
    Unload,
    /// The core's own retry.
    Tick,
}

/// A thread: what it does, and where.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Whether it never leaves the kernel.
    pub kthread: bool,
    /// The CPU that it runs on.
    pub cpu: u8,
    /// What it does.
    pub script: Vec<Do>,
}

/// A bounded configuration.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The livepatches.
    pub patches: Vec<Recipe>,
    /// The threads. The last of four is only there once it was forked.
    pub threads: Vec<Thread>,
    /// What each of the actors does, one after the other.
    pub actors: Vec<Vec<Op>>,
    /// How often CPUs may go off.
    pub offline: u8,
    /// How often a CPU's stopper looks at a thread, at any time.
    pub looks: u8,
    /// Whether to wait for all CPUs really waits, as it should: without, something must go wrong.
    pub waits: bool,
    /// Whether preemption is off while a parent copies its part to its child, as it should be: without,
    /// something must go wrong.
    pub preemption_off: bool,
}
