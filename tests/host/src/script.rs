// SPDX-License-Identifier: GPL-2.0

//! Scripts: somebody else answers for the tasks, one access at a time.
//!
//! Normally the simulation answers the core from its own tasks. A model checker has tasks of its own,
//! which step between any two accesses of the core to what is shared. It installs a [`Script`], which
//! sees each access before it happens, and says what it yields. A script that has no answer unwinds
//! (`std::panic::resume_unwind`): the operation is given up there, and can be run anew with one answer
//! more.

use crate::simulation::Simulation;
use crate::structures::ObjectId;
use crate::tasks::TaskId;
#[cfg(not(loom))]
use kernel::sync::atomic::{observe, Observer};
use livepatch_core::transition::{Check, State};
use std::cell::RefCell;
use std::rc::Rc;

/// An access to what tasks and the core share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads where the tasks are to go.
    Target,
    /// Says where the tasks are to go.
    SetTarget(State),
    /// Reads a task's state.
    State(TaskId),
    /// Sets it.
    SetState(TaskId, State),
    /// Reads a task's pending flag.
    IsPending(TaskId),
    /// Sets it.
    SetPending(TaskId),
    /// Clears it.
    ClearPending(TaskId),
    /// Clears it and says whether it was set.
    TestAndClearPending(TaskId),
    /// Takes the lock of the list of threads, and begins to go through it.
    Threads,
    /// Sees, without the lock, which threads there are.
    ThreadsUnlocked,
    /// Keeps CPUs from coming and going, and begins to go through them.
    Cpus,
    /// Keeps a task as it is, to look at its stack.
    Pin(TaskId),
    /// Gets hold of the stack check.
    Check,
    /// Searches the stack check that it got hold of.
    UseCheck,
    /// Names the function that it found with it.
    Name,
    /// Replaces the stack check.
    ReplaceCheck,
    /// Waits for all CPUs to schedule.
    Synchronize,
    /// Turns the scheduler's part on or off.
    Scheduler(bool),
    /// Is about to change what the site of the function at this address shows.
    Site(usize),
    /// From here on, calls of the function go through the handler.
    Register(usize),
    /// From here on they don't.
    Unregister(usize),
    /// Runs a callback.
    Callback(&'static str, ObjectId),
}

/// What an access yields.
#[derive(Clone)]
pub enum Answer {
    /// Nothing, or what the simulation says.
    Own,
    /// A state.
    State(State),
    /// Whether it is so.
    Flag(bool),
    /// Which threads or CPUs there are: a bit for each, in the order of the simulation's.
    Present(u32),
    /// Whether the task is running elsewhere, and its stack.
    Pinned(bool, Vec<usize>),
    /// A stack check.
    Check(Option<Rc<Check<Simulation>>>),
}

/// Somebody who answers for the tasks.
pub trait Script {
    /// What `access` yields; it happens once this returns.
    fn access(&self, access: Access) -> Answer;
}

thread_local! {
    static SCRIPT: RefCell<Option<Rc<dyn Script>>> = const { RefCell::new(None) };
}

/// Sees the accesses to the target, the one shared thing that is not behind a trait.
#[cfg(not(loom))]
struct Target;

#[cfg(not(loom))]
impl Observer for Target {
    fn load(&self, value: i32) -> i32 {
        match access(Access::Target) {
            Answer::State(state) => state.to_raw(),
            _ => value,
        }
    }

    fn store(&self, value: i32) {
        access(Access::SetTarget(State::from_raw(value)));
    }
}

/// Lets `script` answer for the tasks of the calling thread's simulations, or nobody.
pub fn install(script: Option<Rc<dyn Script>>) {
    #[cfg(not(loom))]
    observe(
        script
            .is_some()
            .then(|| Rc::new(Target) as Rc<dyn Observer>),
    );
    SCRIPT.set(script);
}

/// Whether there is a script.
pub(crate) fn is_installed() -> bool {
    SCRIPT.with_borrow(Option::is_some)
}

/// An access: what it yields.
pub(crate) fn access(access: Access) -> Answer {
    let script = SCRIPT.with_borrow(Option::clone);
    script.map_or(Answer::Own, |script| script.access(access))
}
