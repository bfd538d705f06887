// SPDX-License-Identifier: GPL-2.0

//! The clock that tells how long an attempt takes.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h).

use crate::{
    livepatch_core::transition::Stopwatch,
    Linux, //
};
use kernel::time::{
    Instant,
    Monotonic, //
};

impl Stopwatch for Linux {
    const EARLY: bool = cfg!(CONFIG_LIVEPATCH_EARLY_ATTEMPTS);

    type Instant = Instant<Monotonic>;

    fn now(&self) -> Instant<Monotonic> {
        Instant::now()
    }

    fn elapsed(&self, since: &Instant<Monotonic>) -> u64 {
        // A monotonic clock does not go back.
        since.elapsed().as_millis().try_into().unwrap_or(0)
    }
}
