// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, as the fences of the C11 model that they are at least as strong as.

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
}

impl Barrier for Read {
    const FENCE: Ordering = Ordering::Acquire;
}

impl Barrier for Write {
    const FENCE: Ordering = Ordering::Release;
}

/// A barrier between CPUs.
pub fn smp_mb<B: Barrier>(_: B) {
    fence(B::FENCE);
}
