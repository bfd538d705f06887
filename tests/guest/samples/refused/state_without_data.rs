// SPDX-License-Identifier: GPL-2.0
// error[E0599]: the method `previous_data` exists for struct `State`, but its trait bounds were not satisfied

use kernel::{
    livepatch::{
        Callbacks,
        Object,
        State, //
    },
    prelude::*, //
};

const VERSION: State = State::new(1, 1);

struct Kept;

#[vtable]
impl Callbacks for Kept {
    fn post_patch(object: &Object<'_>) {
        let _ = VERSION.previous_data(object);
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
    name: "state_without_data",
    license: "GPL",
}
