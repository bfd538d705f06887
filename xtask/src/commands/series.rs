// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask series`: the patch series, as mails and as a git tree, and back from that tree.

mod check;
mod each;
mod from;
mod out;

use crate::commands::cli;
use crate::kernel::graft;
use crate::kernel::history::{Extent, History};
use crate::kernel::source::Source;
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use anyhow::Result;
use std::path::Path;
use steps::{place, step};

#[cfg(test)]
mod tests;

pub use check::check;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Series) -> Result<()> {
    let what = &args.what;
    if let Some(dir) = &what.out {
        out::write(cx, dir)?;
    }
    if let Some(dir) = &what.git {
        tree(cx, dir)?;
    }
    if let Some(dir) = &what.from {
        from::take(cx, dir, &args.also)?;
    }
    if what.check_each {
        each::build(cx, args.arch)?;
    }
    Ok(())
}

/// Makes a git tree of the kernel with the series as commits.
fn tree(cx: &Context, dir: &Path) -> Result<()> {
    place::vacant("--git", dir)?;
    let who = Identity::of_user(cx)?;
    let source = Source::choose(cx)?;
    let _lock = cx.lock(&graft::lock_name(&source))?;
    place::room(dir, 4 * place::GIB, "a git tree of the kernel")?;
    graft::refresh(&source)?;
    let dir = std::path::absolute(dir)?;
    let title = format!("Commit the series to {}", dir.display());
    let make = |partial: &Path| History::make(cx, &source, partial, Extent::Whole, &who).map(drop);
    step::work(&title, || place::whole(&dir, make))?;
    println!("{}", dir.display());
    eprintln!(
        "next: edit it and `git commit --fixup COMMIT`, `git rebase --interactive --autosquash --root`, \
         then `cargo xtask series --from {}`",
        dir.display()
    );
    Ok(())
}
