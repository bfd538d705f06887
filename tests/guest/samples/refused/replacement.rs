// SPDX-License-Identifier: GPL-2.0
// error[E0308]: mismatched types

use kernel::prelude::*;

extern "C" fn ticks(jiffies: c_ulong) -> c_long {
    jiffies as c_long
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn not_in_the_bindings(c_int) -> c_long => ticks,
            },
        },
    },
    name: "replacement",
    license: "GPL",
}
