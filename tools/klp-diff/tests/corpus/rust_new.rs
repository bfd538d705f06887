// SPDX-License-Identifier: GPL-2.0
// A new function and a new variable: in the module. The old variable stays the kernel's.
// only: arm64
// exports: consume
// changed: f
// new: m::added
// data: m::added::CALLS
// outside: m::step
// external: consume
mod kernel;

mod m {
    use crate::kernel::*;

    #[cfg(PATCHED)]
    #[inline(never)]
    pub fn added(n: i32) -> i32 {
        static mut CALLS: i32 = 7;
        unsafe {
            CALLS = consume(CALLS);
            consume(n)
        }
    }

    #[inline(never)]
    pub fn step(n: i32) -> i32 {
        static mut STEPS: i32 = 8;
        unsafe {
            STEPS = consume(STEPS);
            consume(n)
        }
    }
}

#[no_mangle]
pub extern "C" fn f(n: i32) -> i32 {
    #[cfg(PATCHED)]
    let n = m::added(n);
    m::step(n)
}
