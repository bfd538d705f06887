// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the powerpc backend.

use crate::{powerpc::Powerpc, Capability, Claim};

impl Claim for Powerpc {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[
        (
            Capability::UnwindInterrupts,
            "a trace that meets an exception is not reliable: the task moves on its way to user mode",
        ),
        (
            Capability::RelocationsAgain,
            "apply_relocate_add() makes a stub for each new address, and none is ever given back",
        ),
        (
            Capability::UnalignedReplacement,
            "no instruction is at an odd address",
        ),
        (
            Capability::SettledGear,
            "a branch does not change the TOC: calls stay in the handler",
        ),
    ];
}
