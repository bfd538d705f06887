// SPDX-License-Identifier: GPL-2.0
// The module has a copy of a vtable, with the kernel's method that did not change. A method that
// changes does not change what uses the vtable.
// only: arm64
// exports: consume
// changed: <Second_as_Go>::go f
// outside: <First_as_Go>::go <Second_as_Go>::go dynamic
// external: consume
mod kernel;
use kernel::*;

pub trait Go {
    fn go(&self) -> i32;
}
pub struct First(i32);
pub struct Second(i32);

impl Go for First {
    #[inline(never)]
    fn go(&self) -> i32 {
        unsafe { consume(self.0) }
    }
}
impl Go for Second {
    #[inline(never)]
    fn go(&self) -> i32 {
        #[cfg(PATCHED)]
        unsafe {
            consume(2);
        }
        unsafe {
            consume(self.0);
            consume(8)
        }
    }
}

#[inline(never)]
fn dynamic(by: &dyn Go) -> i32 {
    by.go();
    by.go()
}

#[no_mangle]
pub extern "C" fn f(n: i32) -> i32 {
    dynamic(&First(n));
    #[cfg(PATCHED)]
    dynamic(&First(3));
    dynamic(&Second(n))
}

#[no_mangle]
pub extern "C" fn g(n: i32) -> i32 {
    dynamic(&Second(n))
}
