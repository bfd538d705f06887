// SPDX-License-Identifier: GPL-2.0

//! A live patch that acts when the kernel and a module are patched and no longer patched.

use kernel::{
    livepatch::{
        Callbacks,
        Object, //
    },
    prelude::*, //
};

/// Logs each step. Refuses to patch objects if the parameter `refuse` says so.
struct Log;

/// Returns the name of an object.
fn name<'a>(object: &'a Object<'_>) -> &'a CStr {
    object.module().unwrap_or(c"vmlinux")
}

#[vtable]
impl Callbacks for Log {
    fn pre_patch(object: &Object<'_>) -> Result {
        pr_info!("before {} is patched\n", name(object));
        if module_parameters::refuse.value() {
            return Err(EPERM);
        }
        Ok(())
    }

    fn post_patch(object: &Object<'_>) {
        pr_info!("{} is patched\n", name(object));
    }

    fn pre_unpatch(object: &Object<'_>) {
        pr_info!("before {} goes back\n", name(object));
    }

    fn post_unpatch(object: &Object<'_>) {
        pr_info!("{} is back\n", name(object));
    }
}

/// Replaces `target_limit()`.
extern "C" fn limit() -> c_int {
    310
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                callbacks: Log,
            },
            livepatch_target: {
                callbacks: Log,
                // SAFETY: The function returns a number, and any number will do.
                unsafe fn target_limit() -> c_int => limit,
            },
        },
    },
    name: "livepatch_callbacks",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: callbacks of a live patch",
    license: "GPL",
    params: {
        refuse: bool {
            default: false,
            description: "Whether to refuse to patch",
        },
    },
}
