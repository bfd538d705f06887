// SPDX-License-Identifier: GPL-2.0

//! Version 2 of a live patch that changes the system beyond its functions.

use kernel::{
    debugfs::Dir,
    livepatch::{
        Callbacks,
        Object,
        State, //
    },
    prelude::*,
    sync::Arc, //
};

/// A directory in debugfs, which stays as long as a live patch knows of it.
// SAFETY: The samples use this ID, for a directory. It has no files, and so no code of a module.
const DIRECTORY: State<Dir> = unsafe { State::with_data(0x646972, 2) };

struct Change;

#[vtable]
impl Callbacks for Change {
    /// Takes the directory over, or makes it.
    fn pre_patch(object: &Object<'_>) -> Result {
        let directory = match DIRECTORY.previous_data(object) {
            Some(directory) => {
                let version = DIRECTORY.previous_version(object);
                pr_info!("goes on with the directory of version {version:?}\n");
                directory
            }
            None => Arc::new(Dir::new(c"livepatch_state"), GFP_KERNEL)?,
        };
        DIRECTORY.set_data(object, Some(directory))
    }

    /// Gives it up. The last live patch that does removes it.
    fn post_unpatch(object: &Object<'_>) {
        let _ = DIRECTORY.set_data(object, None);
    }
}

kernel::module_livepatch! {
    patch: {
        replace: true,
        states: [DIRECTORY],
        objects: {
            vmlinux: {
                callbacks: Change,
            },
        },
    },
    name: "livepatch_state_2",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: version 2 of a system state",
    license: "GPL",
}
