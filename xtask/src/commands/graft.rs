// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask graft`: applies the crates and patches to the kernel source.

use crate::commands::{cli, env};
use crate::kernel::graft::{graft, lock_name};
use crate::kernel::source::Source;
use crate::tools::context::Context;
use anyhow::Result;
use steps::{place, step};
use xshell::cmd;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Graft) -> Result<()> {
    let source = Source::choose(cx)?;
    let _lock = cx.lock(&lock_name(&source))?;
    let changed = graft(cx, &source)?;
    eprintln!(
        "grafted onto Linux {}: {changed} files changed",
        source.version
    );
    let Some(out) = &args.out else {
        println!("{}", source.linux().display());
        return Ok(());
    };
    place::vacant("--out", out)?;
    place::room(out, 2 * place::GIB, "a kernel tree")?;
    let (sh, linux, dest) = (cx.shell()?, source.linux(), std::path::absolute(out)?);
    let copy = cmd!(
        sh,
        "cp --archive --reflink=auto --no-target-directory {linux} {dest}"
    );
    step::run(cx, &format!("Copy the tree to {}", dest.display()), copy)?;
    println!("{}", out.display());
    eprintln!("{}", env::advice(&cx.root, &dest));
    Ok(())
}
