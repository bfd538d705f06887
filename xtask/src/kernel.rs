// SPDX-License-Identifier: GPL-2.0
//! Kernels, from their source to a bootable image.
//!
//! | file | concern |
//! |---|---|
//! | [`source`], [`content`] | the kernel source, and files of a tree |
//! | [`series`], [`graft`] | putting our patches and crates into a scratch copy of the source |
//! | [`history`] | the series as commits of a git tree |
//! | [`rustc`], [`newer`], [`toolchain`] | the tools that compile Rust for the kernel |
//! | [`flavour`], [`named`], [`config`], [`kconfig`] | what can be built, and its configuration |
//! | [`make`], [`build`] | building it |
//! | [`klp_build`] | the tree's own program for that, to be compared with |

pub mod build;
pub mod config;
pub mod content;
pub mod flavour;
pub mod graft;
pub mod history;
pub mod kconfig;
pub mod klp_build;
pub mod make;
pub mod named;
pub mod newer;
pub mod rustc;
pub mod series;
pub mod source;
pub mod toolchain;
