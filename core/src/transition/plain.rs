// SPDX-License-Identifier: GPL-2.0

//! The reader of sleeping stacks: most sleeping tasks are plainly outside of all functions that
//! change, and need not be unwound.
//!
//! The C core has no counterpart.

use super::super::{
    stack::{
        Checks,
        StackCheck, //
    },
    task::{
        State,
        Tasks, //
    }, //
};

/// What the core asks of a stack that it can read without unwinding it.
pub trait Words: Tasks {
    /// Whether this kernel is built with it. Otherwise nothing below is called.
    const READS: bool = false;

    /// Calls `job` with the words on the stack of a task, if every return address of the task is
    /// among them, and does nothing otherwise.
    ///
    /// The words qualify if the task sleeps, no tracer keeps return addresses elsewhere, and no
    /// trampoline is about to call a function that is not on the stack yet. They come in parts,
    /// with one call of `job` for each part.
    fn words(&self, _task: &Self::Pinned, _job: &mut dyn FnMut(&[usize])) {}
}

/// Whether no word on the stack of a task points into a changing function.
///
/// This holds for most sleeping tasks, and a look at each word costs a fraction of unwinding. A
/// word that does point into such a function may be a return address or a leftover. Only unwinding
/// can tell them apart.
pub(super) fn is_outside<K: Checks>(
    kernel: &K,
    pinned: &K::Pinned,
    check: &StackCheck,
    target: State,
) -> bool {
    if !K::READS {
        return false;
    }
    let (mut looked, mut inside) = (false, false);
    kernel.words(pinned, &mut |words| {
        looked = true;
        inside |= check.points_into(target, words);
    });
    looked && !inside
}
