// SPDX-License-Identifier: GPL-2.0

//! Atomics with the kernel crate's interface.

#[cfg(not(loom))]
mod native;
#[cfg(not(loom))]
pub use native::{observe, Atomic, AtomicType, Observer};

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use model::{Atomic, AtomicType};

use std::sync::atomic::Ordering;

/// No ordering.
pub struct Relaxed;
/// Later accesses stay after the load.
pub struct Acquire;
/// Earlier accesses stay before the store.
pub struct Release;

/// A full barrier before and after.
pub struct Full;

/// An ordering for loads.
pub trait AcquireOrRelaxed {
    /// The ordering in terms of the standard library.
    const ORDERING: Ordering;
}

/// An ordering for stores.
pub trait ReleaseOrRelaxed {
    /// The ordering in terms of the standard library.
    const ORDERING: Ordering;
}

impl AcquireOrRelaxed for Relaxed {
    const ORDERING: Ordering = Ordering::Relaxed;
}
impl AcquireOrRelaxed for Acquire {
    const ORDERING: Ordering = Ordering::Acquire;
}
impl ReleaseOrRelaxed for Relaxed {
    const ORDERING: Ordering = Ordering::Relaxed;
}
impl ReleaseOrRelaxed for Release {
    const ORDERING: Ordering = Ordering::Release;
}
