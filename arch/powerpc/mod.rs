// SPDX-License-Identifier: GPL-2.0

//! powerpc, 64 bit, little endian (ELF ABI version 2).
//!
//! | | |
//! |---|---|
//! | saved registers | A `struct pt_regs` |
//! | patch site | A nop at the local entry point, behind the code that sets up the TOC pointer |
//! | reliable stacks | The back chain; an exception on the stack makes a trace unreliable |
//! | relocations | A call out of the patch gets a stub and restores the TOC pointer behind it |
//!
//! The address of a function is its global entry point, which computes the TOC pointer from `r12`.
//! The handler sets the instruction pointer to such an address. ftrace's trampoline jumps to it
//! with `r12` set. The trampoline keeps the caller's TOC pointer and return address on a stack of
//! its own until the new function returns. If the trampoline is reached through an out-of-line
//! stub, `nip` still points into the function.
//!
//! A settled call needs the same around the new function. The stub of each function has a place for
//! the address of the new one, and calls code that reads it from there.
//!
//! The stubs of relocations are never freed, so a module can be loaded only a few times.
//!
//! Headers: [`arch/powerpc/include/asm/ftrace.h`](srctree/arch/powerpc/include/asm/ftrace.h),
//! [`arch/powerpc/include/asm/ptrace.h`](srctree/arch/powerpc/include/asm/ptrace.h).

use super::Backend;

/// The powerpc backend.
pub struct Powerpc;

impl Backend for Powerpc {
    const NAME: &'static str = "powerpc";

    const RELIABLE_STACK: bool = true;

    /// Not examined yet.
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// Offsets from the global entry point. The local entry point is at the same address or two
    /// instructions on. The site is at the local entry point, or behind one or two instructions
    /// there that save the return address.
    const SITE_OFFSETS: &'static [usize] = &[0, 4, 8, 12, 16];

    /// The lowest bit asks for code that calls the function with the trampoline's own stack around
    /// it, but without the handler.
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
        assert_eq!(Powerpc::settled_call(0x1000), Some(0x1001));
        assert_eq!(Powerpc::settled_call(0x1001), None);
        assert_eq!(Powerpc::settled_call(0x1002), None);
        assert_eq!(Powerpc::settled_call(0x1003), None);
        assert_eq!(Powerpc::settled_call(0x1004), Some(0x1005));
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        assert!(!Powerpc::SITE_OFFSETS.is_empty());
        assert!(Powerpc::SITE_OFFSETS.is_sorted_by(|a, b| a < b));
    }
}
