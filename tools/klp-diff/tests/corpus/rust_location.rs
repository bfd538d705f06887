// SPDX-License-Identifier: GPL-2.0
// Lines move above functions that can panic: the locations are not a change.
// only: x86_64
// nothing
mod kernel;
use core::panic::Location;
use kernel::*;

#[cfg(PATCHED)]
macro_rules! lines_move {
    () => {};
}

#[no_mangle]
pub fn index(list: &[i32], at: usize) -> i32 {
    list[at]
}

#[no_mangle]
pub fn expect(n: Option<i32>) -> i32 {
    n.expect("a number") + n.unwrap()
}

#[no_mangle]
pub fn formatted(n: i32) -> i32 {
    assert!(n != 5, "{} is not {n:>4}", 5);
    unsafe { consume(n) }
}

#[no_mangle]
pub fn divided(n: i32, by: i32) -> i32 {
    n / by
}

#[inline(never)]
#[track_caller]
fn told() -> u32 {
    Location::caller().line()
}

#[no_mangle]
pub fn tell() -> u32 {
    told() + told()
}
