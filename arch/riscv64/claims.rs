// SPDX-License-Identifier: GPL-2.0

//! Capability claims of the riscv64 backend.

use crate::{riscv64::Riscv64, Capability, Claim};

impl Claim for Riscv64 {
    const UNSUPPORTED: &'static [(Capability, &'static str)] =
        &[(Capability::SettledGear, "not implemented yet")];

    const IN_PROGRESS: Option<&'static str> = Some(
        "its stacks are not reliable, so kthreads do not move and no transition ends by itself",
    );
}
