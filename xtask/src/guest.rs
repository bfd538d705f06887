// SPDX-License-Identifier: GPL-2.0
//! Guests, from their contents to their results.
//!
//! | file | concern |
//! |---|---|
//! | [`userspace`], [`modules`], [`klp`] | what is in a guest |
//! | [`klpctl`], [`samples`] | the administrator's tool and the samples in it |
//! | [`drgn`] | a debugger that reads its memory |
//! | [`archive`], [`initramfs`] | building its initramfs |
//! | [`qemu`] | booting it, and telling how it ended |
//! | [`ktap`], [`suite`] | running a script in it, and reading its results |

pub mod archive;
pub mod drgn;
pub mod initramfs;
pub mod klp;
pub mod klpctl;
pub mod ktap;
pub mod modules;
pub mod qemu;
pub mod samples;
pub mod suite;
pub mod userspace;
