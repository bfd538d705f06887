// SPDX-License-Identifier: GPL-2.0

//! x86_64, the reference.
//!
//! Headers: [`arch/x86/include/asm/ftrace.h`](srctree/arch/x86/include/asm/ftrace.h),
//! [`arch/x86/include/asm/ptrace.h`](srctree/arch/x86/include/asm/ptrace.h).

use crate::{
    Backend,
    Capability,
    SavedRegisters, //
};

/// The backend.
pub struct X86_64;

/// `struct pt_regs` up to the instruction pointer: ftrace saves a whole one.
#[repr(C)]
pub struct Registers {
    /// `r15` to `orig_ax`, in the order of `struct pt_regs`.
    general: [usize; 16],
    /// `ip`.
    ip: usize,
}

impl SavedRegisters for Registers {
    const INSTRUCTION_POINTER: usize = core::mem::offset_of!(Self, ip);

    fn instruction_pointer(&self) -> usize {
        self.ip
    }

    fn set_instruction_pointer(&mut self, address: usize) {
        self.ip = address;
    }
}

impl Backend for X86_64 {
    const NAME: &'static str = "x86_64";

    type Registers = Registers;

    const UNSUPPORTED: &'static [(Capability, &'static str)] =
        &[(Capability::SettledGear, "not implemented yet")];
}
