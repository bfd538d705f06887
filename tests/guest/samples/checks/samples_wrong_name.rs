// SPDX-License-Identifier: GPL-2.0

//! A live patch of a function that does not exist.

extern "C" fn replacement() {}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                // SAFETY: There is no such function.
                unsafe fn samples_no_such_function() => replacement,
            },
        },
    },
    name: "samples_wrong_name",
    description: "Live patch of a function that does not exist, for the suite samples",
    license: "GPL",
}
