// SPDX-License-Identifier: GPL-2.0

//! The core's debug messages, which dynamic debug switches on.
//!
//! `file kernel/livepatch/* +p` finds them as it finds those of the C core, and so does `func` with
//! the name of the C core's function.

use crate::livepatch_core::transition::{
    DebugMessage,
    Stuck, //
};
use crate::{
    dynamic_debug::dynamic_pr_debug,
    tasks::TaskName, //
};
use kernel::task::Task;

/// Prints a message. The arguments are the C function's name, the text for the control file, and
/// the message.
macro_rules! debug {
    ($($argument:tt)+) => {
        dynamic_pr_debug!(c"livepatch", $($argument)+)
    };
}

/// Prints `message` if its call site is on.
pub(crate) fn print(message: DebugMessage<'_, Task>) {
    match message {
        DebugMessage::Initializing(..) => debug!(
            c"klp_init_transition",
            c"'%s': initializing %s transition\n", "{}\n", message
        ),
        DebugMessage::Completing(..) => debug!(
            c"klp_complete_transition",
            c"'%s': completing %s transition\n", "{}\n", message
        ),
        DebugMessage::Canceling(..) => debug!(
            c"klp_cancel_transition",
            c"'%s': canceling patching transition, going to unpatch\n", "{}\n", message
        ),
        DebugMessage::Reversing(..) => debug!(
            c"klp_reverse_transition",
            c"'%s': reversing transition from %s\n", "{}\n", message
        ),
        DebugMessage::Stuck(task, reason) => print_stuck(task, reason),
    }
}

fn print_stuck(task: &Task, reason: Stuck<'_>) {
    match reason {
        Stuck::Running => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is running\n",
            "klp_try_switch_task: {}:{} is running\n",
            TaskName::of(task).text(),
            task.pid()
        ),
        Stuck::Unreliable => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d has an unreliable stack\n",
            "klp_try_switch_task: {}:{} has an unreliable stack\n",
            TaskName::of(task).text(),
            task.pid()
        ),
        Stuck::Inside(function, _) => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is sleeping on function %s\n",
            "klp_try_switch_task: {}:{} is sleeping on function {}\n",
            TaskName::of(task).text(),
            task.pid(),
            function
        ),
        // The C core has no such state, and so no message for it.
        Stuck::Unchecked => {}
    }
}
