// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, as fences of the C11 model.
//!
//! A fence orders more than the kernel promises in one respect: a release fence keeps earlier loads,
//! and an acquire fence later stores, on their side as well. The core does not count on that.

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
    /// The fence that stands for it.
    const FENCE: Ordering;
    /// What it is called.
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

/// A barrier between CPUs.
#[cfg_attr(loom, track_caller)]
pub fn smp_mb<B: Barrier>(_: B) {
    #[cfg(loom)]
    if super::weaken::is_weakened(std::panic::Location::caller(), B::NAME) {
        return;
    }
    fence(B::FENCE);
}
