// SPDX-License-Identifier: GPL-2.0

//! Tasks that are always running.
//!
//! An attempt can't look at the stack of a task that is running on another CPU. A task that never
//! sleeps and never leaves the kernel would be found running each time. So the attempt takes it off
//! its CPU ([`Busy::take_off_cpu`]): the stopper of that CPU, which only a lack of preemption
//! points can delay, runs and calls [`switch_if_pending`] for the task. The task is then queued and
//! not running. The attempt does not wait for the stopper: the next preemption point may be far
//! off.
//!
//! So that call can come at any time: in the same transition, after a reversal, after the end of
//! the transition, in a later transition, or after the task has exited. By then the task may be on
//! a different CPU than the call. The call does not hold the core's lock. It is safe for the same
//! reasons as the scheduler's own call:
//!
//! - *The flag says whether there is anything to do.* It is clear before a transition starts, while
//!   the sites may not show it yet. It is also clear once the task has moved, while the target
//!   changes, and after the transition. By point 2 of the [memory ordering](super), a reader of the
//!   flag reads the target that belongs to it. After an exit nothing reads the state that the task
//!   gets.
//! - *Preemption is off from before the flag is read until the task has moved.* A reversal or the
//!   end of the transition waits in [`Scheduler::synchronize`] for all callers that have seen the
//!   flag. So the target that was read is still the target, and the stack check still exists.
//! - *Only one caller moves the task at a time.* An attempt and a late call pin the task, one after
//!   the other, and the second one finds that the task has moved. The task does not move itself
//!   meanwhile, since it does not run.
//! - *The task sees the move before its next call*, since the pin has to be released before the
//!   task can run on any CPU. Point 3 there holds for that call because the flag was read before.
//!
//! The call needs no lock of the core. It could not take one either: the holder may be waiting for
//! this very CPU.
//!
//! The C core has no counterpart.
//!
//! [`switch_if_pending`]: super::switch_if_pending
//! [`Scheduler::synchronize`]: super::Scheduler::synchronize

use super::{
    super::{
        task::Tasks,
        Kernel, //
    },
    Transition, //
};

/// What the core asks of the CPUs about tasks that are running.
pub trait Busy: Tasks {
    /// Whether this kernel is built with it. Otherwise nothing below is called.
    const TAKES_OFF: bool = false;

    /// Whether the task never leaves the kernel. Such a task does not move by itself.
    fn stays_in_kernel(&self, _task: &Self::Task) -> bool {
        false
    }
    /// Queues a call of [`switch_if_pending`](super::switch_if_pending) for `task`, which is
    /// running on another CPU. The call comes as soon as that CPU can be preempted. Does not wait
    /// for the call.
    fn take_off_cpu(&self, _task: &Self::Task) {}
}

impl<K: Kernel> Transition<K> {
    /// Takes `task`, which could not move, off its CPU if it is running, so that it can move.
    ///
    /// Nearly all running tasks are in user mode or on their way there, and move by themselves
    /// before the next attempt. So the first attempt only takes tasks that never leave the kernel
    /// off their CPU.
    pub(super) fn take_off_cpu(&self, kernel: &K, task: &K::Task) {
        if !K::TAKES_OFF {
            return;
        }
        let hopeless = !kernel.has_reliable_stacks();
        let patient = self.attempts == 0 && !kernel.stays_in_kernel(task);
        if !hopeless && !patient && kernel.runs_elsewhere(task) {
            kernel.take_off_cpu(task);
        }
    }
}
