// SPDX-License-Identifier: GPL-2.0

//! x86_64, the reference.
//!
//! | | |
//! |---|---|
//! | saved registers | A `struct pt_regs` |
//! | patch site | A 5-byte nop at the start of the function or behind its `endbr64` |
//! | reliable stacks | The ORC unwinder, which unwinds through exceptions |
//! | settled calls | A `jmp` of the same length as ftrace's `call` |
//! | relocations | Written only over zeroes: must be cleared before the object's next load |
//!
//! Headers: [`arch/x86/include/asm/ftrace.h`](srctree/arch/x86/include/asm/ftrace.h),
//! [`arch/x86/include/asm/ptrace.h`](srctree/arch/x86/include/asm/ptrace.h).

use super::Backend;

/// The x86_64 backend.
pub struct X86_64;

impl Backend for X86_64 {
    const NAME: &'static str = "x86_64";

    /// Only the ORC unwinder provides reliable stacks.
    const RELIABLE_STACK: bool = cfg!(CONFIG_HAVE_RELIABLE_STACKTRACE);

    #[cfg(CONFIG_LIVEPATCH)]
    const SLEEPING_STACK_POINTER: Option<usize> =
        Some(core::mem::offset_of!(kernel::bindings::thread_struct, sp));
    // The host has no bindings, and no stacks to search.
    #[cfg(not(CONFIG_LIVEPATCH))]
    const SLEEPING_STACK_POINTER: Option<usize> = None;

    /// With indirect branch tracking, the site follows the function's `endbr64` if it has one.
    const SITE_OFFSETS: &'static [usize] = &[0, 4];

    /// The lowest bit asks for a `jmp` instead of a `call` (`ftrace_jmp_set()`). So a function at
    /// an odd address can't be expressed. A compiler may put a function that it takes for cold at
    /// an odd address.
    fn settled_call(function: usize) -> Option<usize> {
        (function & 1 == 0).then_some(function | 1)
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_arch)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_goes_to_even_addresses() {
        assert_eq!(X86_64::settled_call(0x1000), Some(0x1001));
        assert_eq!(X86_64::settled_call(0x1001), None);
        assert_eq!(X86_64::settled_call(0x1002), Some(0x1003));
        assert_eq!(X86_64::settled_call(usize::MAX), None);
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        assert!(!X86_64::SITE_OFFSETS.is_empty());
        assert!(X86_64::SITE_OFFSETS.is_sorted_by(|a, b| a < b));
    }
}
