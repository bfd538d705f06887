// SPDX-License-Identifier: GPL-2.0

//! A live patch of a function in Rust.

use kernel::prelude::*;

/// Replaces `rust_target_speed()`.
extern "C" fn speed(factor: c_int) -> c_int {
    61 * factor
}

kernel::module_livepatch! {
    patch: {
        objects: {
            livepatch_rust_target: {
                // SAFETY: The function takes and returns numbers, and any number will do.
                unsafe fn rust_target_speed(c_int) -> c_int => speed,
            },
        },
    },
    name: "livepatch_rust",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch of a function in Rust",
    license: "GPL",
}
