// SPDX-License-Identifier: GPL-2.0
//! Runs the property tests with many more random inputs than `cargo xtask test` has time for.

use crate::commands::verify::findings::{thousands, Findings};
use crate::tools::cargo;
use crate::tools::context::Context;
use anyhow::Result;

/// What is tested: a description, programs of the host tests, and a divisor for the number of
/// inputs where one input takes longer.
///
/// Names, symbols and booleans arrive as bytes that others choose, so these tests amount to
/// fuzzing.
const PROGRAMS: &[(&str, &str, u64)] = &[
    (
        "names, symbols, relocations, stacks, states, shadow variables",
        "--test names --test logic --test properties",
        1,
    ),
    ("sequences of what can happen", "--test random", 100),
];

/// Runs the tests with `cases` inputs for each property.
pub fn run(cx: &Context, cases: u64) -> Result<Findings> {
    let mut findings = Findings {
        passed: true,
        figures: Vec::new(),
    };
    for (what, programs, fewer) in PROGRAMS {
        let cases = (cases / fewer).max(1);
        let arguments = format!("test --release --package host-tests {programs}");
        let mut command = cargo::command(cx, &arguments)?;
        command.env("PROPTEST_CASES", cases.to_string());
        let tested = cargo::tests(cx, &format!("Try random {what}"), command);
        findings.passed &= tested.tally.failed() == 0;
        findings.figures.push(format!(
            "{}: {} tests held, {} failed; {} inputs each",
            what,
            tested.tally.passed,
            tested.tally.failed(),
            thousands(cases)
        ));
    }
    Ok(findings)
}
