// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask doctor`.

use crate::context::Context;
use anyhow::{bail, Result};

/// Runs the command.
pub fn run(_cx: &Context) -> Result<()> {
    bail!("still to come")
}
