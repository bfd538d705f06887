// SPDX-License-Identifier: GPL-2.0

//! A live patch that fixes a driver: a slot that does not exist is refused.

use kernel::prelude::*;

const SLOTS: usize = 6;

/// The driver's `struct changer`.
#[repr(C)]
struct Changer {
    capacity: c_int,
    key: c_int,
    changed: [c_int; SLOTS],
}

/// Replaces `changer_media_changed()`.
extern "C" fn media_changed(changer: &Changer, slot: c_ulong) -> c_int {
    let capacity = usize::try_from(changer.capacity).unwrap_or(0);
    let slots = changer.changed.iter().take(capacity);
    match slots.copied().nth(slot) {
        Some(changed) => changed,
        None => EINVAL.to_errno(),
    }
}

kernel::module_livepatch! {
    patch: {
        objects: {
            livepatch_changer: {
                // SAFETY: The driver calls it with its only changer, which has the layout above and
                // is never written to. The function returns what changed, or a negative errno.
                unsafe fn changer_media_changed(&Changer, c_ulong) -> c_int => media_changed,
            },
        },
    },
    name: "livepatch_changer_fix",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a live patch that fixes a driver",
    license: "GPL",
}
