// SPDX-License-Identifier: GPL-2.0

//! A cumulative live patch: it replaces all live patches before it, at once.
//!
//! It no longer changes `target_limit()`, which goes back to what the module has.

use kernel::prelude::*;

/// Replaces `target_speed()`.
extern "C" fn speed(factor: c_int) -> c_int {
    22 * factor
}

kernel::module_livepatch! {
    patch: {
        replace: true,
        objects: {
            livepatch_target: {
                // SAFETY: The function takes and returns numbers, and any number will do.
                unsafe fn target_speed(c_int) -> c_int => speed,
            },
        },
    },
    name: "livepatch_replace_2",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch that replaces others",
    license: "GPL",
}
