// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the arm64 backend.

use crate::{arm64::Arm64, Capability, Claim};

impl Claim for Arm64 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] = &[
        (
            Capability::UnwindInterrupts,
            "a trace that meets an exception is not reliable: the task moves on its way to user mode",
        ),
        (
            Capability::UnalignedReplacement,
            "no instruction is at an odd address",
        ),
    ];
}
