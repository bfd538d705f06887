// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask build`: builds a kernel, without booting it.

use crate::commands::cli;
use crate::kernel::build;
use crate::tools::context::Context;
use anyhow::Result;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Build) -> Result<()> {
    let kernel = build::kernel(cx, args.arch, args.core)?;
    eprintln!(
        "Linux {} with the {} livepatch core",
        kernel.release()?,
        kernel.core
    );
    println!("{}", kernel.image().display());
    Ok(())
}
