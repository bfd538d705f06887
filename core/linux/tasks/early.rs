// SPDX-License-Identifier: GPL-2.0

//! The clock of a transition, and what makes its attempts come early.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
//! [`include/linux/irq_work.h`](srctree/include/linux/irq_work.h).

use crate::{
    livepatch_core::transition::{
        Clock,
        Delays,
        Early, //
    },
    module_parameters::{
        attempt_delay,
        signal_delay, //
    },
    Linux, //
};
use kernel::{
    bindings,
    prelude::*,
    task::Task as KernelTask,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The delays if the parameters say nothing.
const DELAYS: Delays = Delays {
    attempt: 10,
    signal: 20,
};

/// Returns the delay that a parameter asks for, or `default` if it is not from 1 to `most`.
fn within(value: u64, most: u64, default: u64) -> u64 {
    match value {
        0 => default,
        value if value > most => default,
        value => value,
    }
}

/// Warns of parameters that are not used because they are out of range.
pub(crate) fn check_parameters() {
    let (most, used) = (Delays::SLOW, Linux.delays());
    for (name, value, most, used) in [
        (
            "attempt_delay",
            attempt_delay.value(),
            most.attempt,
            used.attempt,
        ),
        (
            "signal_delay",
            signal_delay.value(),
            most.signal,
            used.signal,
        ),
    ] {
        if value != used {
            pr_warn!(
                "{}={} is not from 1 to {}, {} is used\n",
                name,
                value,
                most,
                used
            );
        }
    }
}

impl Early for Linux {
    const EARLY: bool = cfg!(CONFIG_LIVEPATCH_EARLY_ATTEMPTS);

    type Instant = Instant<Monotonic>;

    fn now(&self) -> Instant<Monotonic> {
        Instant::now()
    }

    fn elapsed(&self, since: &Instant<Monotonic>) -> u64 {
        // A monotonic clock does not go back.
        since.elapsed().as_millis().try_into().unwrap_or(0)
    }

    fn delays(&self) -> Delays {
        let most = Delays::SLOW;
        Delays {
            attempt: within(attempt_delay.value(), most.attempt, DELAYS.attempt),
            signal: within(signal_delay.value(), most.signal, DELAYS.signal),
        }
    }

    #[cfg(CONFIG_LIVEPATCH_EARLY_ATTEMPTS)]
    fn retry_now(&self) {
        // SAFETY: The work that this queues may be queued from anywhere, NMI included.
        unsafe { bindings::livepatch_retry_soon() };
    }

    #[cfg(CONFIG_LIVEPATCH_EARLY_ATTEMPTS)]
    fn kick(&self, task: &KernelTask) {
        // SAFETY: The task exists.
        unsafe { bindings::kick_process(task.as_ptr()) };
    }
}

/// Makes the retry of the transition come now.
///
/// # Safety
///
/// The work that retries the transition was initialized. The caller can queue work.
#[cfg(CONFIG_LIVEPATCH_EARLY_ATTEMPTS)]
#[no_mangle]
unsafe extern "C" fn livepatch_retry_now() {
    Linux.retry_later(0);
}
