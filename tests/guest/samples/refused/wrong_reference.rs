// SPDX-License-Identifier: GPL-2.0
// seq_file` where the live patch has `&Task`

use kernel::{
    prelude::*,
    task::Task, //
};

extern "C" fn putc(_task: &Task, _c: c_char) {}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn seq_putc(&Task, c_char) => putc,
            },
        },
    },
    name: "wrong_reference",
    license: "GPL",
}
