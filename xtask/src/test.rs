// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask test`: every test, or those asked for, to the end even if some fail.

mod bridge;
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
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held.
    pub passed: usize,
    /// Could not run.
    pub skipped: usize,
    /// The failed tests. The first line of each says where and what, the others explain it.
    pub failures: Vec<String>,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed())?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

impl Tally {
    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Returns the tally of one test. If the test failed, `explain` returns the failure's text.
    pub fn one(passed: bool, explain: impl FnOnce() -> String) -> Self {
        Self {
            passed: passed.into(),
            skipped: 0,
            failures: (!passed).then(explain).into_iter().collect(),
        }
    }

    /// Returns the tally of a check whose error says what is wrong.
    pub fn check(result: Result<()>) -> Self {
        match result {
            Ok(()) => Self::one(true, String::new),
            Err(error) => Self::failure(&error),
        }
    }

    /// Prints an error, and returns it as the tally of one failed test.
    pub fn failure(error: &anyhow::Error) -> Self {
        eprintln!("error: {error:#}");
        Self::one(false, || format!("{error:#}"))
    }

    /// What a suite came to; says how the guest ended.
    pub fn of(outcome: Outcome) -> Self {
        let Outcome { report, end } = outcome;
        let mut tally = Self {
            passed: report.passed(),
            skipped: report.skipped(),
            failures: report.failures().collect(),
        };
        match end {
            Ok(end) => println!(
                "  {:.0} s; log: {}",
                end.took.as_secs_f32(),
                end.log.display()
            ),
            Err(error) => tally += Self::failure(&error),
        }
        tally
    }

    /// Returns the tally with the place at the start of each failure.
    fn within(mut self, place: &str) -> Self {
        for failure in &mut self.failures {
            failure.insert_str(0, &format!("{place}: "));
        }
        self
    }
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
        let tally = run().within(name);
        let line = format!("{name:8} {tally} ({})", FormattedDuration(start.elapsed()));
        parts.push(line);
        total += tally;
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
                Ok(Err(error)) => Tally::failure(&error),
                Err(_) => Tally::failure(&anyhow!("no kernel, see above")),
            });
        }
    });
    if total.failed() > 0 {
        println!("\n{}", style("What failed").bold());
        for failure in &total.failures {
            println!(
                "  {} {}",
                style("✗").red(),
                failure.trim().replace('\n', "\n      ")
            );
        }
    }
    println!("\nfull logs: {}", cx.logs().display());
    if parts.len() > 1 {
        for line in &parts {
            println!("{line}");
        }
    }
    println!("{total}");
    if total.failed() > 0 {
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
        total += bridge::lint(cx, kernel);
        total += symbols::check(kernel);
    }
    for suite in &tests.suites {
        let core = suite::core_name(kernel.core);
        let title = format!(
            "{} on {} with the {core}: {}",
            suite.name, kernel.target.name, suite.about
        );
        println!("\n{}", style(title).bold());
        let outcome = suite.run(cx, kernel, View::Results);
        total += counted(suite.name, outcome.map(Tally::of));
    }
    if tests.conformance {
        total += counted(conformance::NAME, conformance::of(cx, kernel));
    }
    if tests.stress {
        let tally = stress::of(cx, kernel, stress::MINUTES_IN_TEST, View::Results);
        total += counted(stress::NAME, tally);
    }
    if tests.scenarios {
        let title = "The scenarios of `parity`, on this core alone";
        println!("\n{}", style(title).bold());
        total += counted(parity::SCENARIOS, parity::alone(cx, kernel));
    }
    total
}

/// Returns the tally of a suite. A suite that could not run counts as one failed test.
fn counted(name: &str, tally: Result<Tally>) -> Tally {
    let tally = tally.unwrap_or_else(|error| Tally::failure(&error));
    tally.within(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_says_where_and_why() {
        let mut tally = counted("stress", Err(anyhow!("it hangs"))).within("s390");
        tally += counted("smoke", Ok(Tally::one(true, String::new))).within("s390");
        assert_eq!(tally.to_string(), "1 passed, 1 failed");
        assert_eq!(tally.failures, ["s390: stress: it hangs"]);
    }
}
