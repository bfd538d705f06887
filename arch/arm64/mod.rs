// SPDX-License-Identifier: GPL-2.0

//! arm64.
//!
//! | | |
//! |---|---|
//! | saved registers | A structure of its own, with only the registers that a call may change |
//! | patch site | The second of two nops, behind the function's `bti c` if it has one |
//! | reliable stacks | Frame records; an exception on the stack makes a trace unreliable |
//! | relocations | Can be overwritten, so nothing has to be cleared |
//!
//! ftrace turns the first of the two nops into `mov x9, x30` permanently, so the patch site is
//! reached with the caller's return address in `x9`. With call operations, two more nops in front
//! of the function hold the address of its `ftrace_ops`.
//!
//! Header: [`arch/arm64/include/asm/ftrace.h`](srctree/arch/arm64/include/asm/ftrace.h).

use super::Backend;

/// The arm64 backend.
pub struct Arm64;

impl Backend for Arm64 {
    const NAME: &'static str = "arm64";

    const RELIABLE_STACK: bool = true;

    /// The innermost return address of a sleeping task is in the saved registers, not on its stack.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// The second nop, without and with a `bti c` in front of the nops.
    const SITE_OFFSETS: &'static [usize] = &[4, 8];

    /// The lowest bit asks for a branch without link, which leaves the return address in `x30`.
    fn settled_call(function: usize) -> Option<usize> {
        (function & 3 == 0).then_some(function | 1)
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_arch)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_goes_to_whole_instructions() {
        assert_eq!(Arm64::settled_call(0x1000), Some(0x1001));
        assert_eq!(Arm64::settled_call(0x1001), None);
        assert_eq!(Arm64::settled_call(0x1002), None);
        assert_eq!(Arm64::settled_call(0x1003), None);
        assert_eq!(Arm64::settled_call(0x1004), Some(0x1005));
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        assert!(!Arm64::SITE_OFFSETS.is_empty());
        assert!(Arm64::SITE_OFFSETS.is_sorted_by(|a, b| a < b));
    }
}
