// SPDX-License-Identifier: GPL-2.0

//! Architecture backends of the livepatch core: one folder each, behind one trait.
//!
//! A backend knows how its architecture saves registers for ftrace and what it supports. It knows
//! nothing of patches and contains no unsafe code. The bridge casts the pointer that ftrace passes
//! to [`Backend::Registers`]. The host tests check that layout against the kernel tree's own
//! headers.
//!
//! Every backend has the same parts in the same order: the registers that ftrace saves, reliable
//! stacks, the patch site of a function, the settled gear.
//! `Documentation/livepatch/rust/porting.rst` tells how to add a backend.

#![forbid(unsafe_code)]
// The backends' items are public because the host compiles the backends as a crate.
#![allow(unreachable_pub)]

#[cfg(CONFIG_ARM64)]
mod arm64;
mod backend;
#[cfg(CONFIG_PPC64)]
mod powerpc;
#[cfg(CONFIG_RISCV)]
mod riscv64;
#[cfg(CONFIG_S390)]
mod s390;
#[cfg(CONFIG_X86_64)]
mod x86_64;

pub use backend::{
    Backend,
    SavedRegisters, //
};

/// The backend of the kernel that is being built.
#[cfg(CONFIG_ARM64)]
pub type Native = arm64::Arm64;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_PPC64)]
pub type Native = powerpc::Powerpc;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_RISCV)]
pub type Native = riscv64::Riscv64;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_S390)]
pub type Native = s390::S390;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_X86_64)]
pub type Native = x86_64::X86_64;
