// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask graft`.

use crate::cli;
use crate::context::Context;
use anyhow::{bail, Result};

/// Runs the command.
pub fn run(_cx: &Context, _args: &cli::Graft) -> Result<()> {
    bail!("still to come")
}
