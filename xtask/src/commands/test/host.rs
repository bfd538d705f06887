// SPDX-License-Identifier: GPL-2.0
//! The host's part of the tests: formatting, lints, and every crate's own tests.

use crate::commands::verify::{loom, model, patches};
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::Result;
use console::style;
use steps::step::Step;

/// Runs all of the host's tests.
pub fn run(cx: &Context) -> Tally {
    println!("{}", style("The host's tests").bold());
    let mut total = lint(
        cx,
        "Check the formatting",
        "fmt --all --check -- --color=never",
        "cargo fmt --all",
    );
    let clippy = "clippy --workspace --all-targets --all-features -- -D warnings";
    total += lint(cx, "Check with clippy", clippy, "mend what it points to");
    for part in [tests, patches::quick, quick_proofs] {
        total += part(cx).unwrap_or_else(|error| Tally::failure(&error));
    }
    total
}

fn lint(cx: &Context, title: &str, arguments: &str, hint: &str) -> Tally {
    let result = cargo::command(cx, arguments)
        .and_then(|command| Step::new(cx, title, command).hint(hint).run());
    Tally::check(result.map(drop))
}

/// Runs the crates' tests, and counts each of them.
fn tests(cx: &Context) -> Result<Tally> {
    let command = cargo::command(cx, "test --workspace --no-fail-fast")?;
    let tested = cargo::tests(cx, "Run the crates' tests", command);
    println!(
        "  {} tests passed, {} failed; log: {}",
        tested.tally.passed,
        tested.tally.failed(),
        tested.log.display()
    );
    Ok(tested.tally)
}

/// Runs the parts of `cargo xtask verify` that take less than a minute each.
fn quick_proofs(cx: &Context) -> Result<Tally> {
    let (mut tally, executions) = loom::tests(cx, 0)?;
    println!("  {} loom tests, {executions} executions", tally.passed);
    let searched = model::run(cx, true)?;
    searched
        .figures
        .iter()
        .for_each(|line| println!("  {line}"));
    tally += Tally::one(searched.passed, || searched.figures.join("\n"));
    Ok(tally)
}
