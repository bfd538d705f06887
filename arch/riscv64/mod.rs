// SPDX-License-Identifier: GPL-2.0

//! riscv, 64 bit. In progress: Linux 7.3 has no livepatch for it, with either core.
//!
//! | | |
//! |---|---|
//! | saved registers | Its own structure: what a call may change, the instruction pointer first |
//! | patch site | The second of an `auipc` and a `nop`, first in the function: `nop` becomes `jalr` |
//! | reliable stacks | None: its unwinder does not say whether a trace is complete |
//! | relocations | Written straight into the text: once the module is in, that is read-only |
//!
//! ftrace writes the `auipc` once and for all, so a function is entered with `t0` changed. With call
//! operations, 8 bytes of nops in front of the function hold the address of its `ftrace_ops`.
//!
//! Header: [`arch/riscv/include/asm/ftrace.h`](srctree/arch/riscv/include/asm/ftrace.h).

use super::{
    Backend,
    SavedRegisters, //
};

/// The backend.
pub struct Riscv64;

/// `struct __arch_ftrace_regs` up to the instruction pointer, which is first.
#[repr(C)]
pub struct Registers {
    /// `epc`.
    pub epc: usize,
}

impl SavedRegisters for Registers {
    fn set_instruction_pointer(&mut self, address: usize) {
        self.epc = address;
    }
}

impl Backend for Riscv64 {
    const NAME: &'static str = "riscv64";

    type Registers = Registers;

    /// There is no `arch_stack_walk_reliable()` in `arch/riscv`.
    const RELIABLE_STACK: bool = false;

    /// Without reliable stacks nobody asks.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// Behind the `auipc` that is patched once and for all, and a landing pad if there is one.
    const SITE_OFFSETS: &'static [usize] = &[4, 8];

    fn settled_call(_function: usize) -> Option<usize> {
        None
    }
}
