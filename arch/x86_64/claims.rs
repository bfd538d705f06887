// SPDX-License-Identifier: GPL-2.0

//! What x86_64 claims.

use crate::{x86_64::X86_64, Capability, Claim};

impl Claim for X86_64 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[];
}
