// SPDX-License-Identifier: GPL-2.0
// A new closure before others takes the number of the first. The old ones are still the kernel's.
// only: arm64
// exports: consume
// changed: f
// new: f::{closure} <f::{closure}_as_kernel::core::FnOnce<(i32,)>>::call_once::{shim:vtable}
// outside: apply f::{closure} <f::{closure}_as_kernel::core::FnOnce<(i32,)>>::call_once::{shim:vtable}
// external: consume
mod kernel;
use kernel::*;

#[inline(never)]
fn apply(by: &dyn Fn(i32) -> i32, n: i32) -> i32 {
    by(n);
    by(n)
}

#[no_mangle]
pub extern "C" fn f(n: i32) -> i32 {
    #[cfg(PATCHED)]
    apply(
        &|n| unsafe {
            consume(3);
            consume(n)
        },
        n,
    );
    apply(
        &|n| unsafe {
            consume(n);
            consume(8)
        },
        n,
    );
    apply(&|n| unsafe { consume(n) }, n)
}
