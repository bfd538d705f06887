// SPDX-License-Identifier: GPL-2.0
//! Runs the loom tests, `tests/host/tests/loom`, as they are and with each ordering left out.

use crate::commands::verify::findings::{thousands, Findings};
use crate::tools::cargo::{self, number_before};
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::{ensure, Result};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use steps::place;
use steps::step::Step;

/// Longest time that one run of the tests may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// Returns the command that runs the tests. They are built in their own directory, because `--cfg
/// loom` changes every crate.
fn command(cx: &Context) -> Result<Command> {
    // With one thread, the tests' output would be on the same lines as their results.
    let arguments =
        "test --release --package host-tests --test loom -- --nocapture --test-threads=2";
    let mut command = cargo::command(cx, arguments)?;
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_TARGET_DIR", cx.root.join("target/loom"));
    Ok(command)
}

/// Runs the tests with `more` preemptions in addition to those they ask for. Returns their tally
/// and the number of executions.
pub fn tests(cx: &Context, more: usize) -> Result<(Tally, u64)> {
    let mut command = command(cx)?;
    command.env("LIVEPATCH_PREEMPTIONS", more.to_string());
    let tested = cargo::tests(cx, "Run the loom tests", command);
    let lines = tested.text.lines().filter(|line| line.contains("loom: "));
    let executions = lines.map(|line| number_before(line, " executions") as u64);
    Ok((tested.tally, executions.sum()))
}

/// Runs the tests, deeper than `cargo xtask test` does.
pub fn run(cx: &Context) -> Result<Findings> {
    let (tally, executions) = tests(cx, 1)?;
    Ok(Findings::one(
        tally.failed() == 0 && executions > 0,
        format!(
            "{} tests held, {} failed; {} executions",
            tally.passed,
            tally.failed(),
            thousands(executions)
        ),
    ))
}

/// Runs the tests once for each ordering that they use, with that ordering left out.
pub fn weaken(cx: &Context) -> Result<Findings> {
    let list = cx.logs().join("orderings.txt");
    place::remove(&list)?;
    let mut listing = command(cx)?;
    listing.env("LIVEPATCH_ORDERINGS", &list);
    let tested = cargo::tests(cx, "List the orderings", listing);
    ensure!(
        tested.tally.failed() == 0,
        "the loom tests fail with nothing left out"
    );
    let orderings: BTreeSet<String> = std::fs::read_to_string(&list)?
        .lines()
        .map(str::to_owned)
        .collect();

    let mut survived = Vec::new();
    for ordering in &orderings {
        let Some((place, _)) = ordering.split_once(' ') else {
            continue;
        };
        let title = format!("Leave out {ordering}");
        let mut command = command(cx)?;
        command.env("LIVEPATCH_WEAKEN", place);
        let step = Step::new(cx, &title, command)
            .deadline(DEADLINE)
            .counting(cargo::is_result);
        let log = step.log();
        let noticed = step.expecting_failure().run();
        let text = std::fs::read_to_string(log)?;
        let failed: Vec<&str> = cargo::failures(&text).collect();
        match (noticed, failed.as_slice()) {
            (Ok(_), [first, rest @ ..]) => {
                println!("  {ordering}: {} and {} more fail", first, rest.len());
            }
            (Ok(_), []) => survived.push(format!("{ordering}: no test says what is wrong")),
            (Err(error), _) => {
                eprintln!("error: {error:#}");
                survived.push(format!("{ordering}: no test fails without it"));
            }
        }
    }
    let passed = survived.is_empty() && !orderings.is_empty();
    let mut findings = Findings::one(
        passed,
        format!(
            "{} orderings, {} of them needed",
            orderings.len(),
            orderings.len() - survived.len()
        ),
    );
    findings.figures.extend(survived);
    Ok(findings)
}
