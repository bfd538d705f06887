// SPDX-License-Identifier: GPL-2.0

//! Architecture backends of the livepatch core: one folder each, behind one trait.
//!
//! A backend knows what its architecture supports, and how. It knows nothing of patches and
//! contains no unsafe code. How registers are saved is left to the architecture's own
//! `asm/ftrace.h`: the C half of the bridge sets the instruction pointer with
//! `ftrace_regs_set_instruction_pointer()`.
//!
//! Every backend has the same parts in the same order, that of the trait.
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

pub use backend::Backend;

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
