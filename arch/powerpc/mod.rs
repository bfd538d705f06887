// SPDX-License-Identifier: GPL-2.0

//! powerpc, 64 bit, little endian (ELF ABI version 2).
//!
//! | | |
//! |---|---|
//! | saved registers | A `struct pt_regs` |
//! | patch site | A nop at the local entry point, behind what sets up the TOC pointer |
//! | reliable stacks | The back chain; an exception on the stack makes a trace unreliable |
//! | relocations | A call out of the patch gets a stub, and behind the call the TOC pointer is restored. Stubs are not given back: a module can come a few times only |
//!
//! The address of a function is its global entry point, which works out the TOC pointer from `r12`. A
//! changed instruction pointer is such an address: ftrace's trampoline goes to it with `r12` set, and on
//! a stack of its own keeps the caller's TOC pointer and return address until the new function is done.
//! Where that trampoline is reached through a stub out of line, `nip` still points into the function.
//!
//! Headers: [`arch/powerpc/include/asm/ftrace.h`](srctree/arch/powerpc/include/asm/ftrace.h),
//! [`arch/powerpc/include/asm/ptrace.h`](srctree/arch/powerpc/include/asm/ptrace.h).

use super::{
    Backend,
    SavedRegisters, //
};

/// The backend.
pub struct Powerpc;

/// `struct pt_regs` up to the instruction pointer.
///
/// C code that sets it also marks what an interrupt would return with as stale. ftrace's trampoline
/// returns by a branch, which does not use that.
#[repr(C)]
pub struct Registers {
    /// `gpr`.
    general: [usize; 32],
    /// `nip`.
    pub nip: usize,
}

impl SavedRegisters for Registers {
    fn set_instruction_pointer(&mut self, address: usize) {
        self.nip = address;
    }
}

impl Backend for Powerpc {
    const NAME: &'static str = "powerpc";

    type Registers = Registers;

    const RELIABLE_STACK: bool = true;

    /// Not looked into yet.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// From the global entry point: at the local one, which is there or two instructions on, or
    /// behind one or two instructions that save the return address.
    const SITE_OFFSETS: &'static [usize] = &[0, 4, 8, 12, 16];

    /// A branch would not bring the replacement its TOC, nor the caller's back.
    fn settled_call(_function: usize) -> Option<usize> {
        None
    }
}
