// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask boot`.

use crate::cli;
use crate::context::Context;
use anyhow::{bail, Result};

/// Runs the command.
pub fn run(_cx: &Context, _args: &cli::Boot) -> Result<()> {
    bail!("`boot` is still to come");
}
