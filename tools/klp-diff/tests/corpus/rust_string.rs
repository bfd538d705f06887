// SPDX-License-Identifier: GPL-2.0
// A string is added before others, in a function of its own.
// only: arm64
// changed: f
// external: _printk
mod kernel;
use kernel::*;

#[no_mangle]
pub extern "C" fn f() -> i32 {
    #[cfg(PATCHED)]
    unsafe {
        _printk(b"first.\n\0");
    }
    unsafe { _printk(b"second\n\0") }
}

#[no_mangle]
pub extern "C" fn g() -> i32 {
    unsafe {
        _printk(b"second\n\0");
        _printk(b"third.\n\0")
    }
}
