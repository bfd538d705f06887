// SPDX-License-Identifier: GPL-2.0
// LLVM makes one function of two with the same code. One of them changes: the kernel's callers of
// both are the same ones to livepatch.
// only: arm64
// refused: other Merged
mod kernel;
use kernel::*;

#[no_mangle]
pub extern "C" fn one(n: i32) -> i32 {
    unsafe {
        consume(n);
        consume(n)
    }
}

#[no_mangle]
pub extern "C" fn other(n: i32) -> i32 {
    unsafe {
        #[cfg(PATCHED)]
        consume(3);
        consume(n);
        consume(n)
    }
}
