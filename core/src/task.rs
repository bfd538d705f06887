// SPDX-License-Identifier: GPL-2.0

//! Tasks: which version of the changing functions each one uses, and what the core asks about them.
//!
//! C counterpart: the fields of `struct task_struct` that `kernel/livepatch/transition.c` uses.

use super::transition::{
    Moves,
    Tally, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Which version of the changing functions a task uses (`task->patch_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum State {
    /// No transition.
    Idle = -1,
    /// The version from before the patch.
    Unpatched = 0,
    /// The patch's version.
    Patched = 1,
}

impl State {
    /// Returns the value for `task->patch_state`.
    pub const fn to_raw(self) -> i32 {
        self as i32
    }

    /// Returns the state for a value of `task->patch_state`. An unknown value is idle.
    pub const fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::Unpatched,
            1 => Self::Patched,
            _ => Self::Idle,
        }
    }
}

/// One task, as handed out by the kernel.
pub trait Task {
    /// Keeps preemption off on this CPU while it lives. The current task keeps the CPU meanwhile,
    /// and [`Scheduler::synchronize`](super::transition::Scheduler::synchronize) waits for it.
    type PreemptionOff;

    /// Returns the task's state.
    fn state(&self) -> State;
    /// Sets the task's state.
    fn set_state(&self, state: State);
    /// Whether the task's pending flag (`TIF_PATCH_PENDING`) is set.
    fn is_pending(&self) -> bool;
    /// Sets the pending flag, so that the task moves when it leaves the kernel.
    fn set_pending(&self);
    /// Clears the pending flag.
    fn clear_pending(&self);
    /// Clears the pending flag and returns whether it was set. If it was, this is a full barrier.
    fn test_and_clear_pending(&self) -> bool;
}

/// Error: a stack trace is not reliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreliable;

/// What the core asks of the tasks and their stacks.
///
/// A task is only valid during the call that hands it out.
pub trait Tasks {
    /// A task.
    type Task: Task;
    /// A task that stays as it is: asleep, queued or running. Preemption is off.
    type Pinned;

    /// Returns the state shared with the paths that move tasks without the core's lock.
    fn shared(&self) -> &Shared;
    /// Turns preemption off on this CPU.
    fn preemption_off(&self) -> <Self::Task as Task>::PreemptionOff;
    /// Calls `each` for every thread except the idle threads. No task comes or goes meanwhile.
    fn for_each_thread(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for every thread except the idle threads, without keeping forks out. `each` may
    /// take long. Tasks that are forked meanwhile may be missed.
    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU.
    fn for_each_idle(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU, with the CPU's number and whether the
    /// CPU is online. No CPU comes or goes meanwhile.
    fn for_each_cpu(&self, each: &mut dyn FnMut(&Self::Task, u32, bool));
    /// Whether stack traces are reliable on this kernel.
    fn has_reliable_stacks(&self) -> bool;
    /// Whether `task` is running, on a CPU other than this one.
    fn runs_elsewhere(&self, task: &Self::Task) -> bool;
    /// Calls `job` while `task` stays as it is. The current task needs no pin: it stays as it is
    /// because it runs this function.
    fn pin(&self, task: &Self::Task, job: &mut dyn FnMut(&Self::Pinned));
    /// Calls `job` with the return addresses on the stack of a task.
    fn stack(&self, task: &Self::Pinned, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable>;
    /// Nudges a task that does not leave the kernel by itself, as a signal would.
    fn signal(&self, task: &Self::Task);
}

/// State shared between the holder of the core's lock and the paths that run without it: the exit
/// to user mode, the idle loop, the scheduler and fork.
pub struct Shared {
    /// The state that the tasks move to (`klp_target_state`).
    target: Atomic<i32>,
    /// The moves of tasks so far.
    pub(super) moves: Moves,
    /// The moves of the transition, by each way.
    pub(super) tally: Tally,
}

impl Shared {
    /// Creates the state without a transition.
    pub const fn new() -> Self {
        Self {
            target: Atomic::new(State::Idle.to_raw()),
            moves: Moves::new(),
            tally: Tally::new(),
        }
    }

    /// Returns the state that the tasks move to. It is idle if there is no transition.
    pub fn target(&self) -> State {
        // Relaxed: ordered by the barriers that the documentation of `transition` lists.
        State::from_raw(self.target.load(Relaxed))
    }

    pub(crate) fn set_target(&self, target: State) {
        self.target.store(target.to_raw(), Relaxed);
    }

    /// Moves `task` if its flag is set, and returns whether it was. The task is current or can't
    /// run.
    ///
    /// Preemption is off, so the target does not change between the read of the flag and the write
    /// of the state: a reversal waits for this. C counterpart: `klp_update_patch_state()`.
    pub fn update<T: Task>(&self, task: &T, _off: &T::PreemptionOff) -> bool {
        self.update_locked(task)
    }

    /// Moves `task` if its flag is set, and returns whether it was. The caller has preemption off,
    /// or holds the core's lock: the target changes only under that lock.
    pub(crate) fn update_locked<T: Task>(&self, task: &T) -> bool {
        // If the flag was set, this is a full barrier. The target was stored before the flag was
        // set, and the handler's later read of a site is ordered after the barrier.
        let pending = task.test_and_clear_pending();
        if pending {
            task.set_state(self.target());
        }
        pending
    }

    /// Gives a child that is being forked the flag and the state of its parent, the current task.
    ///
    /// C counterpart: `klp_copy_process()`. The caller holds the lock that
    /// [`Tasks::for_each_thread`] takes, so the child is created entirely before or entirely after
    /// such a walk.
    ///
    /// The parent can't move meanwhile. It does not move itself, since it runs this function. Other
    /// callers do not move it either: preemption is off, so they see that it is running. The lock
    /// alone is not enough. An attempt moves tasks without it, and on kernels where the lock may
    /// sleep, the parent may be preempted while it holds the lock. The child would then get the
    /// flag from before the move and the state from after it.
    pub fn copy<T: Task>(&self, parent: &T, child: &T, _off: &T::PreemptionOff) {
        if parent.is_pending() {
            child.set_pending();
            self.tally.count_fork();
        } else {
            child.clear_pending();
        }
        child.set_state(parent.state());
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_task)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A task that nobody else can see.
    struct Alone {
        state: Cell<State>,
        pending: Cell<bool>,
    }

    impl Alone {
        fn new(state: State, pending: bool) -> Self {
            Self {
                state: Cell::new(state),
                pending: Cell::new(pending),
            }
        }
    }

    impl Task for Alone {
        type PreemptionOff = ();

        fn state(&self) -> State {
            self.state.get()
        }
        fn set_state(&self, state: State) {
            self.state.set(state);
        }
        fn is_pending(&self) -> bool {
            self.pending.get()
        }
        fn set_pending(&self) {
            self.pending.set(true);
        }
        fn clear_pending(&self) {
            self.pending.set(false);
        }
        fn test_and_clear_pending(&self) -> bool {
            self.pending.replace(false)
        }
    }

    const STATES: [State; 3] = [State::Idle, State::Unpatched, State::Patched];

    #[test]
    fn states_are_those_of_the_c_core() {
        assert_eq!(STATES.map(State::to_raw), [-1, 0, 1]);
        assert_eq!([-1, 0, 1].map(State::from_raw), STATES);
        for unknown in [i32::MIN, -2, 2, i32::MAX] {
            assert_eq!(State::from_raw(unknown), State::Idle);
        }
    }

    #[test]
    fn without_a_transition_there_is_no_target() {
        assert_eq!(Shared::new().target(), State::Idle);
        assert_eq!(Shared::default().target(), State::Idle);
    }

    #[test]
    fn a_pending_task_moves_to_the_target() {
        for target in STATES {
            let shared = Shared::new();
            shared.set_target(target);
            for state in STATES {
                let task = Alone::new(state, true);
                assert!(shared.update(&task, &()));
                assert_eq!(task.state(), target);
                assert!(!task.is_pending());
            }
        }
    }

    #[test]
    fn a_task_that_is_not_pending_stays() {
        let shared = Shared::new();
        shared.set_target(State::Patched);
        for state in STATES {
            let task = Alone::new(state, false);
            assert!(!shared.update(&task, &()));
            assert_eq!(task.state(), state);
            assert!(!task.is_pending());
        }
    }

    #[test]
    fn a_child_gets_what_its_parent_has() {
        let shared = Shared::new();
        shared.set_target(State::Patched);
        for state in STATES {
            for pending in [false, true] {
                let parent = Alone::new(state, pending);
                for child in [
                    Alone::new(State::Idle, false),
                    Alone::new(State::Patched, true),
                ] {
                    shared.copy(&parent, &child, &());
                    assert_eq!(child.state(), state);
                    assert_eq!(child.is_pending(), pending);
                }
                assert_eq!(parent.state(), state);
                assert_eq!(parent.is_pending(), pending);
            }
        }
    }
}
