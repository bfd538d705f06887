// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, as fences of the C11 model.
//!
//! In one respect a fence orders more than the kernel promises: a release fence also keeps earlier
//! loads before it, and an acquire fence also keeps later stores after it. The core does not rely
//! on that.

use crate::sync::atomic::Full;
#[cfg(loom)]
use loom::sync::atomic::fence;
#[cfg(not(loom))]
use std::sync::atomic::fence;
use std::sync::atomic::Ordering;

/// Orders loads before loads.
pub struct Read;

/// Orders stores before stores.
pub struct Write;

/// A kind of barrier.
pub trait Barrier {
    /// The fence that models the barrier.
    const FENCE: Ordering;
    /// The name of the barrier.
    const NAME: &str;
}

impl Barrier for Read {
    const FENCE: Ordering = Ordering::Acquire;
    const NAME: &str = "read barrier";
}

impl Barrier for Write {
    const FENCE: Ordering = Ordering::Release;
    const NAME: &str = "write barrier";
}

/// Orders everything before everything.
impl Barrier for Full {
    const FENCE: Ordering = Ordering::SeqCst;
    const NAME: &str = "full barrier";
}

/// Orders memory accesses between CPUs.
#[cfg_attr(loom, track_caller)]
pub fn smp_mb<B: Barrier>(_: B) {
    #[cfg(loom)]
    if super::weaken::is_weakened(std::panic::Location::caller(), B::NAME) {
        return;
    }
    fence(B::FENCE);
}
