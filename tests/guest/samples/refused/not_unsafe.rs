// SPDX-License-Identifier: GPL-2.0
// error: no rules expected

use kernel::prelude::*;

extern "C" fn ticks(jiffies: c_ulong) -> c_long {
    jiffies as c_long
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                fn jiffies_to_clock_t(c_ulong) -> c_long => ticks,
            },
        },
    },
    name: "not_unsafe",
    license: "GPL",
}
