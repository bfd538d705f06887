// SPDX-License-Identifier: GPL-2.0

//! s390, 64 bit.
//!
//! | | |
//! |---|---|
//! | saved registers | A `struct pt_regs` |
//! | patch site | A 6-byte `brcl 0,0` at the start of the function |
//! | reliable stacks | The back chain, which rustc keeps too. None with an exception on the stack |
//! | relocations | Can be overwritten, so nothing has to be cleared |
//!
//! Headers: [`arch/s390/include/asm/ftrace.h`](srctree/arch/s390/include/asm/ftrace.h),
//! [`arch/s390/include/asm/ptrace.h`](srctree/arch/s390/include/asm/ptrace.h).

use super::Backend;

/// The s390 backend.
pub struct S390;

impl Backend for S390 {
    const NAME: &'static str = "s390";

    const RELIABLE_STACK: bool = true;

    /// Not examined yet.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// The site is the first instruction of the function.
    const SITE_OFFSETS: &'static [usize] = &[0];

    /// ftrace's call returns through `%r0`, and the caller's return address stays in `%r14`. The
    /// branch offset is in halfwords, the length of the shortest instruction.
    fn settled_call(function: usize) -> Option<usize> {
        (function & 1 == 0).then_some(function)
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_arch)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_goes_to_even_addresses() {
        assert_eq!(S390::settled_call(0x1000), Some(0x1000));
        assert_eq!(S390::settled_call(0x1001), None);
        assert_eq!(S390::settled_call(0x1002), Some(0x1002));
        assert_eq!(S390::settled_call(usize::MAX), None);
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        assert!(!S390::SITE_OFFSETS.is_empty());
        assert!(S390::SITE_OFFSETS.is_sorted_by(|a, b| a < b));
    }
}
