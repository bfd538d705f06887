// SPDX-License-Identifier: GPL-2.0
// error[E0308]: mismatched types

use kernel::prelude::*;

extern "C" fn ticks(jiffies: c_ulong, _more: c_int) -> c_long {
    jiffies as c_long
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn jiffies_to_clock_t(c_ulong, c_int) -> c_long => ticks,
            },
        },
    },
    name: "arguments",
    license: "GPL",
}
