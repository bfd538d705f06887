// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask verify`: checks, beyond the tests, that the core keeps its promises.
//!
//! | part | shows |
//! |---|---|
//! | [`model`] | no interleaving of the core with tasks, modules and CPUs breaks a property |
//! | [`loom`] | no order that the memory model allows breaks one, and each ordering is needed |
//! | [`mutants`] | the host tests notice every change of the core that makes a difference |
//! | [`properties`] | a property of every input holds for a million random ones |
//! | [`sanitizers`] | the tests have no undefined behaviour |
//!
//! A part that fails does not keep the others from running.

pub mod loom;
pub mod model;
mod mutants;
mod properties;
mod sanitizers;

use crate::cli;
use crate::context::Context;
use anyhow::Result;
use clap::ValueEnum;
use console::style;
use std::time::Instant;

/// A part of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Exhaustive search of the core against a simulated kernel, within bounds
    Model,
    /// The core's atomics and barriers in every order that the memory model allows
    Loom,
    /// The loom tests with each ordering left out in turn: some test has to fail
    Weaken,
    /// The core changed in hundreds of ways: some test has to fail each time
    Mutants,
    /// Random inputs
    Properties,
    /// The tests under Miri, or under the sanitizers of the nightly toolchain
    Sanitizers,
}

/// What a part found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Whether the part passed.
    pub passed: bool,
    /// The figures, one line each.
    pub figures: Vec<String>,
}

impl Findings {
    /// Returns findings with one line.
    pub fn one(passed: bool, figures: String) -> Self {
        Self {
            passed,
            figures: vec![figures],
        }
    }
}

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Verify) -> Result<()> {
    let parts = match args.parts.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    let mut rows = Vec::new();
    for &part in parts {
        let name = part.to_possible_value().expect("no part is hidden");
        let help = name.get_help().map(ToString::to_string).unwrap_or_default();
        println!("\n{}", style(format!("{}: {help}", name.get_name())).bold());
        let start = Instant::now();
        let findings = one(cx, args, part).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Findings::one(false, "did not run".into())
        });
        rows.push((name.get_name().to_owned(), findings, start.elapsed()));
    }

    println!("\n{}", style("Summary").bold());
    for (name, findings, took) in &rows {
        let mark = if findings.passed {
            style("✓").green()
        } else {
            style("✗").red()
        };
        for (index, line) in findings.figures.iter().enumerate() {
            match index {
                0 => println!("  {mark} {name:<11} {line} ({:.0} s)", took.as_secs_f32()),
                _ => println!("    {:<11} {line}", ""),
            }
        }
    }
    println!("\nfull logs: {}", cx.logs().display());
    let failed = rows.iter().filter(|row| !row.1.passed).count();
    println!("{} parts passed, {failed} failed", rows.len() - failed);
    if failed > 0 {
        // Exit without an error message: the failures are explained above, and the counts stay the
        // last line.
        std::process::exit(1);
    }
    Ok(())
}

fn one(cx: &Context, args: &cli::Verify, part: Part) -> Result<Findings> {
    match part {
        Part::Model => model::run(cx, false),
        Part::Loom => loom::run(cx),
        Part::Weaken => loom::weaken(cx),
        Part::Mutants => mutants::run(cx),
        Part::Properties => properties::run(cx, args.cases),
        Part::Sanitizers => sanitizers::run(cx),
    }
}

/// Formats a number with its thousands apart.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1 000");
        assert_eq!(thousands(1234567), "1 234 567");
    }
}
