// SPDX-License-Identifier: GPL-2.0

//! A live patch that [`livepatch_replace_2`](livepatch_replace_2.rs) replaces.

use kernel::prelude::*;

/// Replaces `target_speed()`.
extern "C" fn speed(factor: c_int) -> c_int {
    21 * factor
}

/// Replaces `target_limit()`.
extern "C" fn limit() -> c_int {
    210
}

kernel::module_livepatch! {
    patch: {
        objects: {
            livepatch_target: {
                // SAFETY: The function takes and returns numbers, and any number will do.
                unsafe fn target_speed(c_int) -> c_int => speed,
                // SAFETY: The function returns a number, and any number will do.
                unsafe fn target_limit() -> c_int => limit,
            },
        },
    },
    name: "livepatch_replace_1",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch that will be replaced",
    license: "GPL",
}
