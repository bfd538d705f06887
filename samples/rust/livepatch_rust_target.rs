// SPDX-License-Identifier: GPL-2.0

//! A module in Rust for a sample to patch. `/sys/kernel/debug/livepatch_rust_target/speed` has what
//! its function returns.

use kernel::{
    debugfs::{
        Dir,
        File,
        Writer, //
    },
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    InPlaceModule, //
};

/// Not a constant, which the compiler may put into the caller in place of the call.
static SPEED: Atomic<i32> = Atomic::new(10);

/// Returns the speed. Its name is not mangled, so that a live patch by hand can tell it.
#[no_mangle]
#[inline(never)]
pub extern "C" fn rust_target_speed(factor: c_int) -> c_int {
    SPEED.load(Relaxed).wrapping_mul(factor)
}

struct Speed;

impl Writer for Speed {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", rust_target_speed(1))
    }
}

#[pin_data]
struct Target {
    _dir: Dir,
    #[pin]
    _speed: File<Speed>,
}

impl InPlaceModule for Target {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let dir = Dir::new(c"livepatch_rust_target");
        try_pin_init!(Self {
            _speed <- dir.read_only_file(c"speed", Speed),
            _dir: dir,
        } ? Error)
    }
}

module! {
    type: Target,
    name: "livepatch_rust_target",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a module in Rust to patch",
    license: "GPL",
}
