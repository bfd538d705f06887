// SPDX-License-Identifier: GPL-2.0
// error[E0277]: the old function has `usize` where the live patch has `u32`

use kernel::prelude::*;

extern "C" fn ticks(_jiffies: c_uint) -> c_long {
    0
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn jiffies_to_clock_t(c_uint) -> c_long => ticks,
            },
        },
    },
    name: "argument",
    license: "GPL",
}
