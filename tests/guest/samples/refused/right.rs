// SPDX-License-Identifier: GPL-2.0
// compiles

use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

extern "C" fn ticks(jiffies: c_ulong) -> c_long {
    jiffies as c_long
}

extern "C" fn putc(_file: &SeqFile, _c: c_char) {}

unsafe extern "C" fn puts(_file: *mut kernel::bindings::seq_file, _text: *const c_char) {}

extern "C" fn unknown(_anything: u8) -> bool {
    true
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: Not loaded.
                unsafe fn jiffies_to_clock_t(c_ulong) -> c_long => ticks,
                // SAFETY: Not loaded.
                unsafe fn seq_putc(&SeqFile, c_char) => putc,
                // SAFETY: Not loaded.
                unsafe fn __seq_puts(*mut kernel::bindings::seq_file, *const c_char) => puts,
                // SAFETY: Not loaded.
                #[sympos = 2]
                unsafe fn not_in_the_bindings(u8) -> bool => unknown,
            },
        },
    },
    name: "right",
    license: "GPL",
}
