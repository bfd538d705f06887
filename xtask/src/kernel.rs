// SPDX-License-Identifier: GPL-2.0
//! Kernels, from their source to a bootable image.
//!
//! | file | concern |
//! |---|---|
//! | [`source`] | the kernel source |
//! | [`series`], [`graft`] | putting our patches and crates into a scratch copy of the source |
//! | [`rustc`], [`newer`], [`toolchain`] | the tools that compile Rust for the kernel |
//! | [`flavour`], [`named`], [`config`], [`kconfig`] | what can be built, and its configuration |
//! | [`make`], [`build`] | building it |

pub mod build;
pub mod config;
pub mod flavour;
pub mod graft;
pub mod kconfig;
pub mod make;
pub mod named;
pub mod newer;
pub mod rustc;
pub mod series;
pub mod source;
pub mod toolchain;
