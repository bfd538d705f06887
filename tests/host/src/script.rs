// SPDX-License-Identifier: GPL-2.0

//! Scripts: an outside source of answers for the tasks, one access at a time.
//!
//! Without a script, the simulation answers the core from its own tasks. A model checker has tasks
//! of its own, which step between any two accesses of the core to shared data. It installs a
//! [`Script`], which sees each access before it happens and decides what the access yields. A
//! script that has no answer unwinds (`std::panic::resume_unwind`). The operation is abandoned
//! there and can be run again with one more answer.

use crate::structures::ObjectId;
use crate::tasks::TaskId;
#[cfg(not(loom))]
use kernel::sync::atomic::{observe, Observer};
use livepatch_core::stack::Check;
use livepatch_core::task::State;
use std::cell::RefCell;
use std::rc::Rc;

/// An access to data that tasks and the core share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads the target of the transition.
    Target,
    /// Sets the target of the transition.
    SetTarget(State),
    /// Reads a task's state.
    State(TaskId),
    /// Sets a task's state.
    SetState(TaskId, State),
    /// Reads a task's pending flag.
    IsPending(TaskId),
    /// Sets a task's pending flag.
    SetPending(TaskId),
    /// Clears a task's pending flag.
    ClearPending(TaskId),
    /// Clears a task's pending flag and returns whether it was set.
    TestAndClearPending(TaskId),
    /// Takes the lock of the thread list and starts to walk the list.
    Threads,
    /// Reads the thread list without the lock.
    ThreadsUnlocked,
    /// Keeps CPUs from coming and going, and starts to walk them.
    Cpus,
    /// Pins a task to look at its stack.
    Pin(TaskId),
    /// Gets the stack check.
    Check,
    /// Searches a stack with the stack check that it got.
    UseCheck,
    /// Reads the name of the function that the search found from the stack check.
    Name,
    /// Replaces the stack check.
    ReplaceCheck,
    /// Waits for all CPUs to schedule.
    Synchronize,
    /// Turns the scheduler's attempts to move tasks on or off.
    Scheduler(bool),
    /// Is about to change the view in the site of the function at this address.
    Site(usize),
    /// Makes calls of the function go through the handler from here on.
    Register(usize),
    /// Makes calls of the function bypass the handler from here on.
    Unregister(usize),
    /// Runs a callback.
    Callback(&'static str, ObjectId),
}

/// The result of an access.
#[derive(Clone)]
pub enum Answer {
    /// Nothing, or the simulation's own value.
    Own,
    /// A state.
    State(State),
    /// A truth value.
    Flag(bool),
    /// The threads or CPUs that exist, a bit for each, in the order of the simulation.
    Present(u32),
    /// Whether the task is running elsewhere, and its stack.
    Pinned(bool, Vec<usize>),
    /// A stack check.
    Check(Option<Rc<Check>>),
}

/// A source of answers for the tasks.
pub trait Script {
    /// Returns what `access` yields. The access happens after this returns.
    fn access(&self, access: Access) -> Answer;
}

thread_local! {
    static SCRIPT: RefCell<Option<Rc<dyn Script>>> = const { RefCell::new(None) };
}

/// Observes accesses to the target, the only shared data that is not behind a trait.
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

/// Makes `script` answer for the tasks in simulations of the calling thread. `None` removes the
/// script.
pub fn install(script: Option<Rc<dyn Script>>) {
    #[cfg(not(loom))]
    observe(
        script
            .is_some()
            .then(|| Rc::new(Target) as Rc<dyn Observer>),
    );
    SCRIPT.set(script);
}

/// Whether a script is installed.
pub(crate) fn is_installed() -> bool {
    SCRIPT.with_borrow(Option::is_some)
}

/// Reports an access to the script, and returns its answer.
pub(crate) fn access(access: Access) -> Answer {
    let script = SCRIPT.with_borrow(Option::clone);
    script.map_or(Answer::Own, |script| script.access(access))
}
