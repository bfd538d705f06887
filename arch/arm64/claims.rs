// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the arm64 backend.

use crate::{arm64::Arm64, reason, Capability, Claim};

impl Claim for Arm64 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[
        (Capability::UnwindInterrupts, reason::EXCEPTION),
        (Capability::UnalignedReplacement, reason::ALIGNED),
    ];
}
