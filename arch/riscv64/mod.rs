// SPDX-License-Identifier: GPL-2.0

//! riscv, 64 bit. In progress: Linux 7.3 does not support livepatch on riscv, with either core.
//!
//! | | |
//! |---|---|
//! | saved registers | Its own structure: the instruction pointer, then what a call may change |
//! | patch site | The `nop` after an `auipc` at the start of the function. It becomes a `jalr` |
//! | reliable stacks | None: the unwinder does not say whether a trace is complete |
//! | relocations | Written directly to the text, which is read-only once the module is loaded |
//!
//! ftrace writes the `auipc` permanently, so the patch site is reached with `t0` changed. With call
//! operations, 8 bytes of nops in front of the function hold the address of its `ftrace_ops`.
//!
//! Header: [`arch/riscv/include/asm/ftrace.h`](srctree/arch/riscv/include/asm/ftrace.h).

use super::Backend;

/// The riscv64 backend.
pub struct Riscv64;

impl Backend for Riscv64 {
    const NAME: &'static str = "riscv64";

    /// There is no `arch_stack_walk_reliable()` in `arch/riscv`.
    const RELIABLE_STACK: bool = false;

    /// Without reliable stacks, no stack is searched.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// Behind the `auipc`, without and with a landing pad in front of it.
    const SITE_OFFSETS: &'static [usize] = &[4, 8];

    fn settled_call(_function: usize) -> Option<usize> {
        None
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_arch)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_branch() {
        assert_eq!(Riscv64::settled_call(0x1000), None);
        assert_eq!(Riscv64::settled_call(0x1004), None);
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        assert!(!Riscv64::SITE_OFFSETS.is_empty());
        assert!(Riscv64::SITE_OFFSETS.is_sorted_by(|a, b| a < b));
    }
}
