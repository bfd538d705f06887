// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the powerpc backend.

use crate::{powerpc::Powerpc, reason, Capability, Claim};

impl Claim for Powerpc {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[
        (Capability::UnwindInterrupts, reason::EXCEPTION),
        (
            Capability::RelocationsAgain,
            "apply_relocate_add() makes a stub for each new address, and none is ever given back",
        ),
        (Capability::UnalignedReplacement, reason::ALIGNED),
    ];
}
