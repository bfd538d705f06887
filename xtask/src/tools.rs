// SPDX-License-Identifier: GPL-2.0
//! What everything else is made with.
//!
//! | file | concern |
//! |---|---|
//! | [`context`] | the checkout, the kernel tree, and the cache |
//! | [`tally`] | counting tests |
//! | [`cargo`] | running cargo on the workspace |
//! | [`identity`] | who makes commits |
//! | [`libclang`], [`need`] | what can be needed, and whether it is there |
//! | [`target`] | the table of architectures |
//! | [`apt`], [`provision`], [`prebuilt`], [`tool`], [`herd`], [`python`] | installing what is needed |
//!
//! Locks, long steps and complete entries of the cache are in the crate [`steps`].

pub mod apt;
pub mod cargo;
pub mod context;
pub mod herd;
pub mod identity;
pub mod libclang;
pub mod need;
pub mod prebuilt;
pub mod provision;
pub mod python;
pub mod tally;
pub mod target;
pub mod tool;
