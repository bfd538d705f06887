// SPDX-License-Identifier: GPL-2.0

//! Taking tasks off their CPU.
//!
//! C header: [`include/linux/stop_machine.h`](srctree/include/linux/stop_machine.h).

use super::{
    flags,
    task_from_raw, //
};
use crate::{
    livepatch_core::transition::{
        self,
        Busy,
        Way, //
    },
    preempt,
    Linux, //
};
use kernel::{
    bindings,
    task::Task as KernelTask, //
};

impl Busy for Linux {
    const TAKES_OFF: bool = true;

    fn stays_in_kernel(&self, task: &KernelTask) -> bool {
        // Both flags are set before the task can be found. Where a kthread becomes a program,
        // either answer will do.
        flags(task) & (bindings::PF_KTHREAD | bindings::PF_USER_WORKER) != 0
    }

    fn take_off_cpu(&self, task: &KernelTask) {
        // SAFETY: The task exists, so a reference to it can be taken.
        unsafe { bindings::livepatch_take_off_cpu(task.as_ptr()) };
    }
}

/// Tries to move a task that was taken off its CPU.
///
/// # Safety
///
/// The caller is a CPU's stopper, with preemption off. It holds a reference to `task`.
#[no_mangle]
unsafe extern "C" fn livepatch_switch_if_pending(task: *mut bindings::task_struct) {
    let off = preempt::disable_notrace();
    // SAFETY: The caller holds a reference to the task throughout the call.
    if let Some(task) = unsafe { task_from_raw(task) } {
        transition::switch_if_pending(&Linux, task, &off, Way::Stopper);
    }
}
