// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask test`: every test, or those asked for, to the end even if some fail.

mod configs;
mod host;
mod symbols;

use crate::commands::{cli, conformance, lint, parity, patch, series, stress};
use crate::guest::suite::{self, Outcome, Suite, View};
use crate::kernel::build;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::make::Kernel;
use crate::kernel::named;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use crate::tools::target;
use anyhow::{anyhow, Result};
use console::style;
use indicatif::FormattedDuration;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// The architecture that is tested last. Nothing is built beside the last guests, so they should be
/// those that take the least time.
const LAST: &str = "arm64";

/// What runs in each architecture's guests.
#[derive(Debug, Default)]
struct GuestTests {
    suites: Vec<&'static Suite>,
    /// Whether one suite was named.
    named: bool,
    conformance: bool,
    patches: bool,
    stress: bool,
    /// Elsewhere they are compared with what the C core does; here the kernel itself is the judge.
    scenarios: bool,
}

impl GuestTests {
    fn asked_for(args: &cli::Test) -> Result<Self> {
        let mut tests = Self {
            named: args.guest.is_some(),
            ..Self::default()
        };
        match args.guest.as_deref() {
            None if args.host => {}
            None => {
                tests.suites = suite::TESTS.iter().collect();
                // What it shows of interrupts depends on time, of which such a kernel takes a lot.
                tests.conformance = !args.debug_kernel;
                tests.patches = !args.debug_kernel;
                tests.stress = !args.debug_kernel;
                tests.scenarios = args.debug_kernel;
            }
            Some(conformance::NAME) => tests.conformance = true,
            Some(patch::NAME) => tests.patches = true,
            Some(stress::NAME) => tests.stress = true,
            Some(parity::SCENARIOS) if args.debug_kernel => tests.scenarios = true,
            Some(name) => tests.suites.push(suite::find(name)?),
        }
        Ok(tests)
    }

    fn is_empty(&self) -> bool {
        self.suites.is_empty()
            && !self.conformance
            && !self.patches
            && !self.stress
            && !self.scenarios
    }
}

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Test) -> Result<()> {
    let configs = named::selected(&args.config);
    if !configs.is_empty() {
        let total = configs::run(cx, &args.arch.targets(), &configs, args.core);
        return conclude(cx, &total, &[]);
    }
    let tests = GuestTests::asked_for(args)?;
    let mut total = Tally::default();
    let flavour = match args.debug_kernel {
        true => Flavour::Debug,
        false => Flavour::Plain,
    };
    let host = args.guest.is_none() && !args.debug_kernel;
    let mut targets = match tests.is_empty() {
        true => Vec::new(),
        false => args.arch.targets(),
    };
    targets.sort_by_key(|target| target.name == LAST);
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
        for (index, target) in targets.iter().enumerate() {
            part(target.name, &|| match kernels.recv() {
                Ok(Ok(kernel)) => {
                    let mut tally = Tally::default();
                    if index == 0 && kernel.core == Core::Rust {
                        tally += lint::quick(cx, host);
                        tally += series::check(cx);
                    }
                    tally += guest(cx, &kernel, &tests);
                    tally
                }
                // A kernel that does not build counts as one failed test.
                Ok(Err(error)) => Tally::failure(&error),
                Err(_) => Tally::failure(&anyhow!("no kernel, see above")),
            });
        }
    });
    conclude(cx, &total, &parts)
}

/// Prints what failed, the parts and the sum.
fn conclude(cx: &Context, total: &Tally, parts: &[String]) -> Result<()> {
    if total.failed() > 0 {
        println!("\n{}", style("What failed").bold());
        for failure in &total.failures {
            println!(
                "  {} {}",
                tally::mark(false),
                failure.trim().replace('\n', "\n      ")
            );
        }
    }
    println!("\nfull logs: {}", cx.logs().display());
    if parts.len() > 1 {
        for line in parts {
            println!("{line}");
        }
    }
    println!("{total}");
    tally::conclude(total.failed())
}

/// The suites in guests of one architecture.
fn guest(cx: &Context, kernel: &Kernel, tests: &GuestTests) -> Tally {
    let mut total = Tally::default();
    if kernel.core == Core::Rust {
        total += lint::clippy::check(cx, kernel);
        total += symbols::check(kernel);
    }
    for suite in &tests.suites {
        let core = kernel.core.name();
        let title = format!(
            "{} on {} with the {core}: {}",
            suite.name, kernel.target.name, suite.about
        );
        println!("\n{}", style(title).bold());
        if !suite.everywhere && !tests.named && kernel.target.name != target::DEFAULT {
            let why = format!(
                "it runs on {}, and elsewhere with --guest {}",
                target::DEFAULT,
                suite.name
            );
            total += skipped(&why);
            continue;
        }
        let outcome = suite.run(cx, kernel, View::Results);
        total += counted(suite.name, outcome.map(Outcome::tally));
    }
    if tests.conformance {
        total += counted(conformance::NAME, conformance::of(cx, kernel));
    }
    if tests.patches {
        println!("\n{}", style(patch::title(kernel)).bold());
        total += match patch::is_for(kernel.target) {
            true => counted(patch::NAME, patch::of(cx, kernel)),
            false => skipped("no live patches can be made of patches there yet"),
        };
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

/// Says why a suite does not run, and returns its tally.
fn skipped(why: &str) -> Tally {
    println!("  - skipped: {why}");
    Tally {
        skipped: 1,
        ..Tally::default()
    }
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
