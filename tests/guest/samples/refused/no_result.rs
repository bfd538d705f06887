// SPDX-License-Identifier: GPL-2.0
// error[E0277]: the old function has `isize` where the live patch has `()`

use kernel::prelude::*;

extern "C" fn ticks(_jiffies: c_ulong) {}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn jiffies_to_clock_t(c_ulong) => ticks,
            },
        },
    },
    name: "no_result",
    license: "GPL",
}
