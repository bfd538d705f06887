// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the x86_64 backend.

use crate::{x86_64::X86_64, Capability, Claim};

impl Claim for X86_64 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[];
}
