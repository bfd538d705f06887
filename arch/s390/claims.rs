// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the s390 backend.

use crate::{reason, s390::S390, Capability, Claim};

impl Claim for S390 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[
        (Capability::UnwindInterrupts, reason::EXCEPTION),
        (Capability::UnalignedReplacement, reason::ALIGNED),
    ];
}
