// SPDX-License-Identifier: GPL-2.0

//! s390, 64 bit.
//!
//! | | |
//! |---|---|
//! | saved registers | A `struct pt_regs` |
//! | patch site | A 6-byte `brcl 0,0`, first in the function |
//! | reliable stacks | The back chain, which rustc keeps too; an exception on the stack makes a trace unreliable |
//! | relocations | Can be written over: nothing has to be taken back |
//!
//! Headers: [`arch/s390/include/asm/ftrace.h`](srctree/arch/s390/include/asm/ftrace.h),
//! [`arch/s390/include/asm/ptrace.h`](srctree/arch/s390/include/asm/ptrace.h).

use super::{
    Backend,
    SavedRegisters, //
};

/// The backend.
pub struct S390;

/// `struct pt_regs` up to the program status word, which has the instruction pointer.
#[repr(C)]
pub struct Registers {
    /// `args`.
    args: [usize; 1],
    /// `psw.mask`.
    mask: usize,
    /// `psw.addr`.
    pub addr: usize,
}

impl SavedRegisters for Registers {
    fn set_instruction_pointer(&mut self, address: usize) {
        self.addr = address;
    }
}

impl Backend for S390 {
    const NAME: &'static str = "s390";

    type Registers = Registers;

    const RELIABLE_STACK: bool = true;

    /// Not looked into yet.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// The six bytes at the function's address.
    const SITE_OFFSETS: &'static [usize] = &[0];

    /// ftrace's call returns through `%r0`; the caller's return address stays in `%r14`. It counts
    /// in halfwords, which is how long the shortest instruction is.
    fn settled_call(function: usize) -> Option<usize> {
        (function & 1 == 0).then_some(function)
    }
}
