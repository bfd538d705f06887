// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask lint`: what the kernel's own checkers say about our code and documents.
//!
//! Each check is a file. `test` runs the quick ones and clippy. What a checker finds and we keep is
//! in `xtask/lint/`, with the reasons.

mod accepted;
mod checkpatch;
pub mod clippy;
mod docs;
mod format;
mod kernel_doc;
mod maintainers;
mod tree;
mod warnings;

use crate::commands::cli::{self, Check};
use crate::commands::lint::tree::Tree;
use crate::kernel::build;
use crate::kernel::flavour::Core;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use anyhow::{anyhow, Result};
use clap::ValueEnum;
use std::time::Instant;

/// The checks that take seconds and need no kernel.
const QUICK: &[Check] = &[Check::Format, Check::Checkpatch, Check::KernelDoc];

/// Those that take half a minute each, and need no kernel either.
const SLOWER: &[Check] = &[Check::Series, Check::Guest];

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Lint) -> Result<()> {
    let checks = match args.checks.as_slice() {
        [] => Check::value_variants(),
        checks => checks,
    };
    let needs_kernel = |check: &Check| matches!(check, Check::Clippy | Check::Warnings);
    let kernel = match checks.iter().any(needs_kernel) {
        true => Some(build::kernel(cx, args.arch, Core::Rust)?),
        false => None,
    };
    let tree = Tree::grafted(cx)?;
    let (mut rows, mut total) = (Vec::new(), Tally::default());
    for &check in checks {
        let name = name(check);
        let start = Instant::now();
        let tally = one(cx, check, &tree, kernel.as_ref()).within(&name);
        let passed = tally.failed() == 0;
        rows.push((passed, name, start.elapsed()));
        total += tally;
    }
    println!();
    for (passed, name, took) in rows {
        println!(
            "  {} {name:<12} {:.0} s",
            tally::mark(passed),
            took.as_secs_f32()
        );
    }
    println!("\nfull logs: {}", cx.logs().display());
    println!("{total}");
    tally::conclude(total.failed())
}

/// Runs the quick checks on the tree of a kernel that was just built, and the slower ones if all tests
/// run.
pub fn quick(cx: &Context, all: bool) -> Tally {
    let tree = match Tree::current(cx) {
        Ok(tree) => tree,
        Err(error) => return Tally::failure(&error),
    };
    let mut total = Tally::default();
    let slower = if all { SLOWER } else { &[] };
    for &check in QUICK.iter().chain(slower) {
        total += one(cx, check, &tree, None).within(&name(check));
    }
    total
}

fn name(check: Check) -> String {
    let value = check.to_possible_value().expect("no check is hidden");
    value.get_name().to_owned()
}

fn one(cx: &Context, check: Check, tree: &Tree, kernel: Option<&Kernel>) -> Tally {
    match (check, kernel) {
        (Check::Format, _) => format::check(cx, tree),
        (Check::Checkpatch, _) => checkpatch::files(cx, tree),
        (Check::Guest, _) => checkpatch::guest(cx, tree),
        (Check::Series, _) => checkpatch::series(cx, tree),
        (Check::KernelDoc, _) => kernel_doc::check(cx, tree),
        (Check::Maintainers, _) => maintainers::check(cx, tree),
        (Check::Docs, _) => docs::check(cx, tree),
        (Check::Clippy, Some(kernel)) => clippy::check(cx, kernel),
        (Check::Warnings, Some(kernel)) => warnings::check(cx, kernel, tree),
        (Check::Clippy | Check::Warnings, None) => Tally::failure(&anyhow!("no kernel was built")),
    }
}
