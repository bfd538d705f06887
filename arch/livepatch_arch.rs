// SPDX-License-Identifier: GPL-2.0

//! Architecture backends of the livepatch core: one folder each, behind one trait.
//!
//! A backend knows how its architecture saves registers for ftrace and what it supports. It knows
//! nothing of patches, and contains no unsafe code: the bridge casts what ftrace hands it to
//! [`Backend::Registers`], whose layout the host tests hold against the kernel tree's own headers.
//!
//! Every backend has the same parts in the same order: what ftrace saves, reliable stacks, the patch site
//! of a function, the settled gear. To add one: `Documentation/livepatch/rust/porting.rst`.

#![forbid(unsafe_code)]
// What is public in the backends is public for the host, where this is a crate.
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
