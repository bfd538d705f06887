// SPDX-License-Identifier: GPL-2.0

//! Scenarios: bounded configurations. Each is searched exhaustively.
//!
//! Each thread, the administrator and the module loader have a small program. The programs are
//! interleaved in every possible way, also in the middle of the core's operations.

use host_tests::recipe::Recipe;

/// The functions that tasks call, by number.
pub const FUNCTIONS: [(Option<&str>, &str); 4] = [
    (None, "read"),
    (None, "copy"),
    (Some(MODULE), "show"),
    (Some(MODULE), "store"),
];

/// A function that calls [`COPY`].
pub const READ: u8 = 0;
/// A function that [`READ`] and itself call.
pub const COPY: u8 = 1;
/// A function in the module.
pub const SHOW: u8 = 2;

/// The name of the module.
pub const MODULE: &str = "target";

/// The number of threads that can exist.
pub const THREADS: usize = 4;
/// The number of CPUs.
pub const CPUS: usize = 2;
/// The number of administrators and module loaders.
pub const ACTORS: usize = 3;

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Calls a function.
    Call(u8),
    /// Returns from the innermost function.
    Return,
    /// Gives up its CPU, and gets it back later.
    Sleep,
    /// Leaves for user mode, and comes back.
    Leave,
    /// Forks. The child is the last thread.
    Fork,
    /// Exits.
    Exit,
    /// Is preempted, where the scheduler does not try to move it, and gets its CPU back later.
    Preempted,
    /// Starts the script again.
    Again,
    /// Does the next item, or skips it. If that is a call, everything up to its return is skipped.
    Maybe,
}

/// What an administrator or a module loader does. Each operation needs the core's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Loads a livepatch, while there is no transition.
    Insmod(u8),
    /// Disables a livepatch, while there is no transition.
    Disable(u8),
    /// Reverses the transition.
    Reverse,
    /// Forces the transition.
    Force,
    /// Loads the module.
    Load,
    /// Unloads the module, while no task is in it.
    Unload,
    /// The core's own retry.
    Tick,
    /// The core's own retry, after the transition's deadline.
    Late,
}

/// A thread: where it runs, and what it does.
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
    /// The threads. The last of four exists only once it was forked.
    pub threads: Vec<Thread>,
    /// What each actor does, in order.
    pub actors: Vec<Vec<Op>>,
    /// How often a CPU may go offline.
    pub offline: u8,
    /// How often a CPU's stopper looks at a thread, at any time.
    pub looks: u8,
    /// Whether waiting for all CPUs really waits. If it does not, the search must find a violation.
    pub waits: bool,
    /// Whether preemption is off while a parent copies its part to its child. If it is not, the
    /// search must find a violation.
    pub preemption_off: bool,
}

impl Scenario {
    /// Whether the core looks at a task twice in one operation. The deadline names the tasks that
    /// have not moved. The reductions take it that the core has forgotten a task once it has moved.
    pub fn looks_twice(&self) -> bool {
        self.actors.iter().flatten().any(|op| *op == Op::Late)
    }
}
