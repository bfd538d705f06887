// SPDX-License-Identifier: GPL-2.0

//! arm64.
//!
//! | | |
//! |---|---|
//! | saved registers | Its own structure: what a call may change, and no more |
//! | patch site | The second of two nops behind the function's `bti c`, if it has one |
//! | reliable stacks | Frame records; an exception on the stack makes a trace unreliable |
//! | relocations | Can be written over: nothing has to be taken back |
//!
//! ftrace turns the first of the two nops into `mov x9, x30` once and for all, so a function is entered
//! with the caller's return address in `x9`. With call operations, two more nops in front of the function
//! hold the address of its `ftrace_ops`.
//!
//! Header: [`arch/arm64/include/asm/ftrace.h`](srctree/arch/arm64/include/asm/ftrace.h).

use super::{
    Backend,
    SavedRegisters, //
};

/// The backend.
pub struct Arm64;

/// `struct __arch_ftrace_regs`.
#[repr(C)]
pub struct Registers {
    /// `regs`: `x0` to `x8`.
    general: [usize; 9],
    /// `direct_tramp`, or padding.
    direct: usize,
    /// `fp`, `lr` and `sp`.
    frame: [usize; 3],
    /// `pc`.
    pub pc: usize,
}

impl SavedRegisters for Registers {
    fn set_instruction_pointer(&mut self, address: usize) {
        self.pc = address;
    }
}

impl Backend for Arm64 {
    const NAME: &'static str = "arm64";

    type Registers = Registers;

    const RELIABLE_STACK: bool = true;

    /// The innermost return address is kept with the registers.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// The second nop, behind a `bti c` if there is one.
    const SITE_OFFSETS: &'static [usize] = &[4, 8];

    /// The lowest bit asks for a branch without link, which leaves the return address in `x30`.
    fn settled_call(function: usize) -> Option<usize> {
        (function & 3 == 0).then_some(function | 1)
    }
}
