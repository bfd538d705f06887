// SPDX-License-Identifier: GPL-2.0
//! libFuzzer on one of the targets, which the variable `FUZZ_TARGET` names.

#![no_main]

use fuzz::{find, Target};
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target"));
        TARGET.get_or_init(|| target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
