// SPDX-License-Identifier: GPL-2.0

//! Reading the stacks of sleeping tasks without unwinding them.

use super::{
    is_current,
    Pinned, //
};
use crate::{
    livepatch_arch::{
        Backend,
        Native, //
    },
    livepatch_core::transition::Words,
    Linux, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// How many words of a stack are copied and checked at a time.
const WORDS: usize = 64;

/// Calls the closure that `job` points to with copies of the words on a stack, a few at a time.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&[usize])` that nothing else uses during the call. `words`
/// points to `count` words of memory that can be read. Other CPUs may write to them meanwhile.
unsafe extern "C" fn words(words: *const c_ulong, count: c_ulong, job: *mut c_void) {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&[usize])>() };
    // If a word points into a BPF trampoline, the words do not tell enough, see `Tasks::stack`.
    #[cfg(CONFIG_BPF_JIT)]
    // SAFETY: `words` points to `count` words.
    if unsafe { bindings::livepatch_finds_trampoline(words, count) } {
        return;
    }
    let mut copy = [0usize; WORDS];
    let mut from = 0;
    while from < count {
        let length = WORDS.min(count.saturating_sub(from));
        let (part, _) = copy.split_at_mut_checked(length).unwrap_or_default();
        for (index, word) in part.iter_mut().enumerate() {
            // SAFETY: `from + index` is less than `count`. Another CPU may hold the address of a
            // variable on that stack and write to it now, so this cannot be a reference. The
            // volatile read takes a word as a whole.
            *word = unsafe { words.add(from).add(index).read_volatile() };
        }
        job(part);
        from = from.saturating_add(length);
    }
}

impl Words for Linux {
    const READS: bool = true;

    fn words(&self, task: &Pinned, job: &mut dyn FnMut(&[usize])) {
        let Some(offset) = Native::SLEEPING_STACK_POINTER else {
            return;
        };
        if is_current(task.as_ptr()) {
            return;
        }
        let mut job: &mut dyn FnMut(&[usize]) = job;
        // SAFETY: The task exists. This only takes the address of the field.
        let thread = unsafe { &raw const (*task.as_ptr()).thread };
        // SAFETY: The backend takes the offset from the layout of the field's type, so it is within
        // the field. The task is pinned and is not this one, so its stack pointer does not change.
        let pointer = unsafe { thread.byte_add(offset).cast::<c_ulong>().read() };
        // SAFETY: The task exists and is pinned. `job` is valid during the call, and nothing else
        // uses it.
        unsafe {
            bindings::livepatch_with_sleeping_stack(
                task.as_ptr(),
                pointer,
                Some(words),
                (&raw mut job).cast(),
            )
        };
    }
}
