// SPDX-License-Identifier: GPL-2.0

//! A live patch of `/proc/cmdline`.

use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

/// Replaces `cmdline_proc_show()`.
extern "C" fn show(file: &SeqFile, _data: *mut c_void) -> c_int {
    seq_print!(file, "this has been live patched in Rust\n");
    0
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: seq_file calls the function with a file of the calling task, and expects
                // 0 or an error.
                unsafe fn cmdline_proc_show(&SeqFile, *mut c_void) -> c_int => show,
            },
        },
    },
    name: "livepatch_hello",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch of /proc/cmdline",
    license: "GPL",
}
