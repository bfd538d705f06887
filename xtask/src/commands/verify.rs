// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask verify`: checks, beyond the tests, that the core keeps its promises.
//!
//! | part | shows |
//! |---|---|
//! | [`model`] | no interleaving of the core with tasks, modules and CPUs breaks a property |
//! | [`loom`] | no order that the memory model allows breaks one, and each ordering is needed |
//! | [`invariant`] | the same for any number of tasks, CPUs, functions and patches: an induction |
//! | [`litmus`] | no order that the kernel's memory model allows does, and each ordering is needed |
//! | [`mutants`] | the host tests notice every change of the core that makes a difference |
//! | [`patches`] | the patch engine decides sources and objects rightly, and survives mutated ones |
//! | [`fuzz`] | a fuzzer that sees which code its inputs reach finds none that breaks a property |
//! | [`properties`] | a property of every input holds for a million random ones |
//! | [`sanitizers`] | the tests have no undefined behaviour |
//!
//! A part that fails does not keep the others from running.

mod findings;
mod fuzz;
mod invariant;
mod litmus;
pub mod loom;
pub mod model;
mod mutants;
pub mod patches;
mod properties;
mod sanitizers;

use crate::commands::cli::{self, Part};
use crate::commands::verify::findings::Findings;
use crate::tools::context::Context;
use crate::tools::tally::{conclude, mark};
use anyhow::Result;
use clap::ValueEnum;
use console::style;
use std::time::Instant;

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
        let mark = mark(findings.passed);
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
    conclude(failed)
}

fn one(cx: &Context, args: &cli::Verify, part: Part) -> Result<Findings> {
    match part {
        Part::Model => model::run(cx, false),
        Part::Loom => loom::run(cx),
        Part::Weaken => loom::weaken(cx),
        Part::Invariant => invariant::run(cx),
        Part::Litmus => litmus::run(cx),
        Part::Mutants => mutants::run(cx),
        Part::Properties => properties::run(cx, args.cases),
        Part::Fuzz => fuzz::run(cx, args.cases),
        Part::Sanitizers => sanitizers::run(cx),
        Part::Patches => patches::run(cx, args.objects.as_deref(), args.cases),
    }
}
