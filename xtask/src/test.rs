// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask test`: every test, or those asked for, to the end even if some fail.

mod host;
mod symbols;

use crate::build::{self, Core, Flavour, Kernel};
use crate::cli;
use crate::conformance;
use crate::context::Context;
use crate::parity;
use crate::stress;
use crate::suite::{self, Outcome, Suite, View};
use anyhow::{anyhow, Result};
use console::style;
use indicatif::FormattedDuration;
use std::fmt;
use std::ops::AddAssign;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held.
    pub passed: usize,
    /// Did not.
    pub failed: usize,
    /// Could not run.
    pub skipped: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed")?;
        match skipped {
            0 => Ok(()),
            _ => write!(f, ", {skipped} skipped"),
        }
    }
}

impl Tally {
    /// One test.
    pub fn one(passed: bool) -> Self {
        Self {
            passed: passed.into(),
            failed: (!passed).into(),
            skipped: 0,
        }
    }

    /// What a suite came to; says how the guest ended.
    pub fn of(outcome: Outcome) -> Self {
        let Outcome { report, end } = outcome;
        match end {
            Ok(end) => println!(
                "  {:.0} s; log: {}",
                end.took.as_secs_f32(),
                end.log.display()
            ),
            Err(error) => eprintln!("error: {error:#}"),
        }
        Self {
            passed: report.passed(),
            failed: report.failed(),
            skipped: report.skipped(),
        }
    }
}

/// What could not even run counts as one failed test.
fn failure(error: anyhow::Error) -> Tally {
    eprintln!("error: {error:#}");
    Tally::one(false)
}

/// What runs in each architecture's guests.
#[derive(Debug, Default)]
struct GuestTests {
    suites: Vec<&'static Suite>,
    conformance: bool,
    stress: bool,
    /// Elsewhere they are compared with what the C core does; here the kernel itself is the judge.
    scenarios: bool,
}

impl GuestTests {
    fn asked_for(args: &cli::Test) -> Result<Self> {
        let mut tests = Self::default();
        match args.guest.as_deref() {
            None if args.host => {}
            None => {
                tests.suites = suite::TESTS.iter().collect();
                // What it shows of interrupts depends on time, of which such a kernel takes a lot.
                tests.conformance = !args.debug_kernel;
                tests.stress = !args.debug_kernel;
                tests.scenarios = args.debug_kernel;
            }
            Some(conformance::NAME) => tests.conformance = true,
            Some(stress::NAME) => tests.stress = true,
            Some(parity::SCENARIOS) if args.debug_kernel => tests.scenarios = true,
            Some(name) => tests.suites.push(suite::find(name)?),
        }
        Ok(tests)
    }

    fn is_empty(&self) -> bool {
        self.suites.is_empty() && !self.conformance && !self.stress && !self.scenarios
    }
}

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Test) -> Result<()> {
    let tests = GuestTests::asked_for(args)?;
    let mut total = Tally::default();
    let flavour = match args.debug_kernel {
        true => Flavour::Debug,
        false => Flavour::Plain,
    };
    let host = args.guest.is_none() && !args.debug_kernel;
    let targets = match tests.is_empty() {
        true => Vec::new(),
        false => args.arch.targets(),
    };
    // Kernels are built while what needs no kernel, or another one, is tested.
    let builder = match host || targets.len() > 1 {
        true => &cx.in_background(),
        false => cx,
    };
    let mut parts = Vec::new();
    let mut part = |name, run: &dyn Fn() -> Tally| {
        let start = Instant::now();
        let tally = run();
        total += tally;
        parts.push((name, tally, start.elapsed()));
    };
    thread::scope(|scope| {
        let (built, kernels) = mpsc::channel();
        let to_build = &targets;
        scope.spawn(move || {
            for target in to_build {
                let kernel = build::kernel_of(builder, target, args.core, flavour);
                // Nobody waits for it if the tests have panicked.
                if built.send(kernel).is_err() {
                    return;
                }
            }
        });
        if host {
            part("host", &|| host::run(cx));
        }
        for target in &targets {
            part(target.name, &|| match kernels.recv() {
                Ok(Ok(kernel)) => guest(cx, &kernel, &tests),
                // A kernel that does not build counts as one failed test.
                Ok(Err(error)) => failure(error),
                Err(_) => failure(anyhow!("{}: no kernel, see above", target.name)),
            });
        }
    });
    println!("\nfull logs: {}", cx.logs().display());
    if parts.len() > 1 {
        for (name, tally, took) in &parts {
            println!("{name:8} {tally} ({})", FormattedDuration(*took));
        }
    }
    println!("{total}");
    if total.failed > 0 {
        // Not an error to be explained: everything has been, and the counts are to be the last line.
        std::process::exit(1);
    }
    Ok(())
}

/// The suites in guests of one architecture.
fn guest(cx: &Context, kernel: &Kernel, tests: &GuestTests) -> Tally {
    let mut total = Tally::default();
    total += host::abi(cx, kernel);
    if kernel.core == Core::Rust {
        total += symbols::check(kernel);
    }
    for suite in &tests.suites {
        let core = suite::core_name(kernel.core);
        let title = format!(
            "{} on {} with the {core}: {}",
            suite.name, kernel.target.name, suite.about
        );
        println!("\n{}", style(title).bold());
        total += suite
            .run(cx, kernel, View::Results)
            .map_or_else(failure, Tally::of);
    }
    if tests.conformance {
        total += conformance::of(cx, kernel).unwrap_or_else(failure);
    }
    if tests.stress {
        total +=
            stress::of(cx, kernel, stress::MINUTES_IN_TEST, View::Results).unwrap_or_else(failure);
    }
    if tests.scenarios {
        let title = "The scenarios of `parity`, on this core alone";
        println!("\n{}", style(title).bold());
        total += parity::alone(cx, kernel).unwrap_or_else(failure);
    }
    total
}
