// SPDX-License-Identifier: GPL-2.0

//! Architecture backends of the livepatch core: one folder each, behind one trait.
//!
//! A backend knows how its architecture saves registers for ftrace and what it supports. It knows
//! nothing of patches, and contains no unsafe code: the bridge casts what ftrace hands it to
//! [`Backend::Registers`], whose layout the host tests hold against the kernel tree's own headers.
//!
//! To add one: a folder, a line below, and a row in xtask's table of targets.

#![cfg_attr(not(CONFIG_LIVEPATCH), no_std)]
#![forbid(unsafe_code)]

pub mod x86_64;

/// The registers that ftrace saves for a handler (`struct ftrace_regs`), as far as the core reads
/// or writes them.
pub trait SavedRegisters {
    /// Where the field of the instruction pointer is, in bytes from the start.
    const INSTRUCTION_POINTER: usize;

    /// Where the traced function continues.
    fn instruction_pointer(&self) -> usize;

    /// Lets it continue at `address` instead.
    ///
    /// C counterpart: `ftrace_regs_set_instruction_pointer()`.
    fn set_instruction_pointer(&mut self, address: usize);
}

/// Whether a backend supports something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It doesn't, for this reason. The core does without.
    No(&'static str),
}

/// What the core has to know of an architecture.
pub trait Backend {
    /// The name, as in the folder and in the log.
    const NAME: &'static str;

    /// The layout of the registers that ftrace saves.
    type Registers: SavedRegisters;

    /// Settled gear: once all tasks have moved, calls go straight to the new function.
    const SETTLED: Support;
}

/// The backend of the kernel that is being built.
#[cfg(CONFIG_X86_64)]
pub type Native = x86_64::X86_64;
