// SPDX-License-Identifier: GPL-2.0

//! The unit tests of the core and of the backend, in the running kernel.
//!
//! This module has the same logic as the kernel, compiled once more, and the tests beside it as
//! suites of KUnit. It has nothing of the bridge, and patches nothing. The core in the kernel stays
//! as it is without tests: in one crate with them, the compiler would inline other functions.

// Only tests use the logic here.
#![allow(dead_code, unused_imports)]

#[path = "../core/livepatch_core.rs"]
#[macro_use]
mod livepatch_core;

#[path = "../arch/livepatch_arch.rs"]
mod livepatch_arch;

use kernel::prelude::*;

module! {
    type: UnitTests,
    name: "livepatch_kunit",
    authors: ["The Rust livepatch core's authors"],
    description: "KUnit tests of the Rust livepatch core",
    license: "GPL",
}

/// The module. KUnit finds the suites in it by their section.
struct UnitTests;

impl kernel::Module for UnitTests {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
