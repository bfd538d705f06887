// SPDX-License-Identifier: GPL-2.0

//! Synchronization.

pub mod atomic;
pub mod barrier;
#[cfg(loom)]
pub mod weaken;
