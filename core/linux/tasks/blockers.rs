// SPDX-License-Identifier: GPL-2.0

//! Which task a task is and where it is, for messages about tasks that have not moved.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/stacktrace.h`](srctree/include/linux/stacktrace.h).

use super::{
    flags,
    Pinned,
    TaskName, //
};
use crate::{
    livepatch_core::transition::{
        Identify,
        Identity, //
    },
    Linux, //
};
use kernel::{
    bindings,
    prelude::*,
    task::Task as KernelTask, //
};

/// Room for the name of an address: a symbol, an offset, a size and a module. A longer name is cut
/// off.
const SYMBOL_LEN: usize = 256;

impl Identify for Linux {
    fn identity(&self, task: &KernelTask) -> Identity {
        Identity {
            process: task.tgid(),
            thread: task.pid(),
            name: TaskName::of(task).0,
            // Where a kthread becomes a program, either answer will do.
            kthread: flags(task) & bindings::PF_KTHREAD != 0,
        }
    }

    fn cpu(&self, task: &KernelTask) -> u32 {
        // SAFETY: The task exists.
        unsafe { bindings::task_cpu(task.as_ptr()) }
    }

    #[cfg(CONFIG_STACKTRACE)]
    fn first_address(&self, task: &Pinned) -> Option<usize> {
        let mut entry: c_ulong = 0;
        // SAFETY: The task exists and is current or pinned. `entry` has room for one entry.
        let count = unsafe { bindings::stack_trace_save_tsk(task.as_ptr(), &raw mut entry, 1, 0) };
        (count != 0).then_some(entry)
    }

    fn with_symbol(&self, address: usize, job: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0u8; SYMBOL_LEN];
        // SAFETY: `buffer` can be written, and its length is passed. `%pB` takes an address, which
        // is only looked up.
        let length = unsafe {
            bindings::scnprintf(
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                c"%pB".as_char_ptr(),
                address as *const c_void,
            )
        };
        let length = usize::try_from(length).unwrap_or(0);
        let text = buffer.get(..length).unwrap_or_default();
        // Without a symbol, `%pB` prints the address itself.
        if !text.is_empty() && !text.starts_with(b"0x") {
            job(text);
        }
    }
}
