// SPDX-License-Identifier: GPL-2.0

//! Preemption.
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h).

use kernel::{
    bindings,
    types::NotThreadSafe, //
};

/// Keeps preemption off while it lives. The task that has it can't leave the CPU.
///
/// # Invariants
///
/// The task that made the guard has turned preemption off for it.
#[expect(
    unreachable_pub,
    reason = "a part of the implementation of a trait for a public type"
)]
pub struct Guard(NotThreadSafe);

/// Turns preemption off until the guard is dropped.
///
/// ftrace does not trace this, so handlers and the paths to user mode can use it.
#[inline]
pub(crate) fn disable_notrace() -> Guard {
    // SAFETY: The guard turns preemption on again.
    unsafe { bindings::preempt_disable_notrace() };
    // INVARIANT: Preemption was turned off just now.
    Guard(NotThreadSafe)
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, this task has turned preemption off for the guard.
        unsafe { bindings::preempt_enable_notrace() };
    }
}

/// Whether the current task can be preempted. Always false where the kernel does not count this.
pub(crate) fn preemptible() -> bool {
    // SAFETY: `preemptible()` only reads the state of this CPU.
    unsafe { bindings::preemptible() }
}
