// SPDX-License-Identifier: GPL-2.0
// error[E0277]: `*mut u8` cannot be sent between threads safely

use kernel::{
    livepatch::Shadow,
    prelude::*, //
};

struct Device;

/// A pointer must not go to other threads.
// SAFETY: Not loaded.
const POINTER: Shadow<Device, *mut u8> = unsafe { Shadow::new(1) };

extern "C" fn ticks(jiffies: c_ulong) -> c_long {
    jiffies as c_long
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn jiffies_to_clock_t(c_ulong) -> c_long => ticks,
            },
        },
    },
    name: "shadow_of_a_thread",
    license: "GPL",
}
