// SPDX-License-Identifier: GPL-2.0
// A function in Rust changes, where rustc gives functions a patch site.
// only: arm64
// changed: m::step
// external: consume
mod kernel;

mod m {
    use crate::kernel::*;

    #[inline(never)]
    pub fn step(n: i32) -> i32 {
        #[cfg(PATCHED)]
        unsafe {
            consume(1);
        }
        unsafe { consume(n) }
    }
}

#[no_mangle]
pub extern "C" fn f(n: i32) -> i32 {
    m::step(m::step(n))
}
