// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask demo`.

use crate::cli;
use crate::context::Context;
use anyhow::{bail, Result};

/// Runs the command.
pub fn run(_cx: &Context, _args: &cli::Demo) -> Result<()> {
    bail!("`demo` is still to come");
}
