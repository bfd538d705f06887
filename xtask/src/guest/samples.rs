// SPDX-License-Identifier: GPL-2.0
//! Builds the samples for a guest, as modules outside of the tree. Shows first that live patches
//! with mistakes do not compile.

use crate::guest::initramfs;
use crate::guest::modules;
use crate::guest::userspace::Userspace;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally;
use anyhow::{bail, ensure, Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The live patch in the directory of mistakes that has none.
const RIGHT: &str = "right";

/// Builds the initramfs of the suite `name`: its script, and the modules of all samples.
pub fn image(cx: &Context, kernel: &Kernel, userspace: Userspace, name: &str) -> Result<PathBuf> {
    let base = initramfs::base(cx, kernel, userspace)?;
    initramfs::extended(cx, kernel, &base, (name, name), "", |archive, work| {
        refuse(cx, kernel, &work.join("refused"))?;
        let all = work.join("all");
        modules::mirror(&cx.root.join("samples"), &all)?;
        modules::make(cx, kernel, work, "Build the samples")?;
        let mut built = modules::directories(&all)?;
        built.push(work.join("checks"));
        for dir in built {
            archive.copy_all(name, &modules::objects(&dir)?)?;
        }
        Ok(())
    })
}

/// Shows that each live patch in `work` is refused by the compiler, with the text in its second
/// line, and that the one without a mistake compiles.
fn refuse(cx: &Context, kernel: &Kernel, work: &Path) -> Result<()> {
    let mut cases = modules::files(work)?;
    cases.retain(|path| path.extension() == Some("rs".as_ref()));
    for path in cases {
        let case = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path)?;
        let second = text.lines().nth(1);
        let expected = second.and_then(|line| line.strip_prefix("// "));
        let expected = expected.with_context(|| format!("{} says no error", path.display()))?;
        let mut make = kernel.make(cx)?;
        make.arg(format!("M={}", work.display()));
        make.args([&format!("CASE={case}"), &format!("{case}.o")]);
        let output = make.output().context("cannot run make")?;
        let said = String::from_utf8_lossy(&output.stderr);
        match (case == RIGHT, output.status.success()) {
            (true, compiles) => ensure!(compiles, "the right live patch fails:\n{said}"),
            (false, true) => bail!("{case}.rs compiles, and must fail with `{expected}`"),
            (false, false) if said.contains(expected) => {
                println!("  {} {case}.rs: {expected}", tally::mark(true));
            }
            (false, false) => bail!("{case}.rs fails without `{expected}`:\n{said}"),
        }
    }
    Ok(())
}
