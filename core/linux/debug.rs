// SPDX-License-Identifier: GPL-2.0

//! The core's debug messages, which dynamic debug switches on.
//!
//! `file kernel/livepatch/* +p` finds them as it finds those of the C core, and so does `func` with
//! the name of the C core's function.

use crate::livepatch_core::transition::{
    Debug,
    Stuck, //
};
use crate::{
    descriptors::FunctionRef,
    dynamic_debug::dynamic_pr_debug,
    tasks::TaskRef,
    Linux, //
};

/// Prints a message. The arguments are the C function's name, the text for the control file, and
/// the message.
macro_rules! debug {
    ($($argument:tt)+) => {
        dynamic_pr_debug!(c"livepatch", $($argument)+)
    };
}

/// Prints `message` if its call site is on.
pub(crate) fn print(message: Debug<'_, Linux>) {
    match message {
        Debug::Initializing(..) => debug!(
            c"klp_init_transition",
            c"'%s': initializing %s transition\n", "{}\n", message
        ),
        Debug::Completing(..) => debug!(
            c"klp_complete_transition",
            c"'%s': completing %s transition\n", "{}\n", message
        ),
        Debug::Canceling(..) => debug!(
            c"klp_cancel_transition",
            c"'%s': canceling patching transition, going to unpatch\n", "{}\n", message
        ),
        Debug::Reversing(..) => debug!(
            c"klp_reverse_transition",
            c"'%s': reversing transition from %s\n", "{}\n", message
        ),
        Debug::Stuck(task, reason) => print_stuck(task, reason),
    }
}

fn print_stuck(task: &TaskRef, reason: Stuck<FunctionRef>) {
    match reason {
        Stuck::Running => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is running\n",
            "klp_try_switch_task: {}:{} is running\n",
            task.name().text(),
            task.pid()
        ),
        Stuck::Unreliable => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d has an unreliable stack\n",
            "klp_try_switch_task: {}:{} has an unreliable stack\n",
            task.name().text(),
            task.pid()
        ),
        Stuck::Inside(function) => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is sleeping on function %s\n",
            "klp_try_switch_task: {}:{} is sleeping on function {}\n",
            task.name().text(),
            task.pid(),
            function.name()
        ),
        // The C core has no such state, and so no message for it.
        Stuck::Unchecked => {}
    }
}
