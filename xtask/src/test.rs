// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask test`.

use crate::cli;
use crate::context::Context;
use anyhow::{bail, Result};

/// Runs the command.
pub fn run(_cx: &Context, _args: &cli::Test) -> Result<()> {
    bail!("`test` is still to come");
}
