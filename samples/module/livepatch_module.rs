// SPDX-License-Identifier: GPL-2.0

//! A live patch of a module that may come before or after it.

use kernel::prelude::*;

/// Replaces `target_speed()`.
extern "C" fn speed(factor: c_int) -> c_int {
    11 * factor
}

kernel::module_livepatch! {
    patch: {
        objects: {
            livepatch_target: {
                // SAFETY: The function takes and returns numbers, and any number will do.
                unsafe fn target_speed(c_int) -> c_int => speed,
            },
        },
    },
    name: "livepatch_module",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch of a module",
    license: "GPL",
}
