// SPDX-License-Identifier: GPL-2.0
// error[E0521]: borrowed data escapes

use kernel::{
    livepatch::{
        Callbacks,
        Object, //
    },
    prelude::*, //
};

struct Kept;

fn keep(_object: &'static Object<'static>) {}

#[vtable]
impl Callbacks for Kept {
    fn post_patch(object: &Object<'_>) {
        keep(object);
    }
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                callbacks: Kept,
            },
        },
    },
    name: "object_kept",
    license: "GPL",
}
