// SPDX-License-Identifier: GPL-2.0
// A new block of methods before another one changes the mangled names of its methods, and of their
// variables. They are the same methods and variables.
// only: arm64
// exports: consume
// changed: <Counter>::count
// outside: <Counter>::count::CALLS
// external: consume
mod kernel;
use kernel::*;

pub struct Counter(i32);

#[cfg(PATCHED)]
impl Counter {
    #[inline(always)]
    fn more(&self) {
        unsafe {
            consume(9);
        }
    }
}

impl Counter {
    #[inline(never)]
    fn count(&self) -> i32 {
        static mut CALLS: i32 = 7;
        #[cfg(PATCHED)]
        self.more();
        unsafe {
            CALLS = consume(CALLS);
            consume(self.0)
        }
    }

    #[inline(never)]
    fn other(&self) -> i32 {
        unsafe { consume(self.0) }
    }
}

#[no_mangle]
pub extern "C" fn f(n: i32) -> i32 {
    Counter(n).count();
    Counter(n).other();
    Counter(n).other();
    Counter(n).count()
}
