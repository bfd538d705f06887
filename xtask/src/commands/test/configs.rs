// SPDX-License-Identifier: GPL-2.0
//! `test --config`: upstream's selftests, the suite `transitions` and what a configuration is for, on
//! kernels of other configurations, and a table of the results and the build times.

use crate::guest::drgn;
use crate::guest::suite::{self, Outcome, View};
use crate::kernel::build;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::named::Named;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use crate::tools::target::Target;
use console::style;
use indicatif::FormattedDuration;
use std::fmt;
use std::time::{Duration, Instant};

/// The suites that run on each kernel.
const SUITES: &[&str] = &["smoke", "kselftest", "transitions"];
/// Those where functions in Rust have patch sites, and the examples in the docs are compiled: one of the
/// samples patches such a function, and `kunit` runs the examples.
const RUST_TRACE: &[&str] = &["smoke", "kselftest", "transitions", "samples", "kunit"];
/// Those that run where there is a distribution's userspace.
const DISTRIBUTION: &[&str] = &["klpctl", drgn::NAME];

fn suites(named: &Named) -> &'static [&'static str] {
    match named.flavour {
        Flavour::Distribution => DISTRIBUTION,
        Flavour::RustTrace => RUST_TRACE,
        _ => SUITES,
    }
}

/// One line of the table.
struct Row {
    target: &'static str,
    name: &'static str,
    /// `None` if there is no kernel.
    built: Option<Duration>,
    tested: Duration,
    passed: bool,
    counts: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, target, name) = (tally::mark(self.passed), self.target, self.name);
        write!(f, "{mark} {target:8} {name:13} ")?;
        match self.built {
            Some(built) => write!(
                f,
                "{:>10}  {:>10}  {}",
                FormattedDuration(built).to_string(),
                FormattedDuration(self.tested).to_string(),
                self.counts
            ),
            None => write!(f, "{:>10}  {:>10}  see above", "no kernel", "-"),
        }
    }
}

/// Builds each kernel, runs the suites on it, and prints the table.
pub fn run(
    cx: &Context,
    targets: &[&'static Target],
    configs: &[&'static Named],
    core: Core,
) -> Tally {
    let (mut rows, mut total) = (Vec::new(), Tally::default());
    for target in targets {
        for named in configs {
            let title = format!("{} on {}: {}", named.name, target.name, named.about);
            println!("\n{}", style(title).bold());
            let (row, tally) = one(cx, target, named, core);
            rows.push(row);
            total += tally.within(&format!("{}: {}", target.name, named.name));
        }
    }
    let head = format!(
        "{:10}{:14} {:>10}  {:>10}  suites",
        "", "", "build", "tests"
    );
    println!("\n{}", style(head.trim_end()).bold());
    for row in rows {
        println!("{row}");
    }
    total
}

fn one(cx: &Context, target: &'static Target, named: &Named, core: Core) -> (Row, Tally) {
    let start = Instant::now();
    let kernel = build::kernel_of(cx, target, core, named.flavour);
    let built = start.elapsed();
    let start = Instant::now();
    let mut tally = Tally::default();
    let has_kernel = kernel.is_ok();
    match &kernel {
        Ok(kernel) => {
            for name in suites(named) {
                let run = |suite: &suite::Suite| suite.run(cx, kernel, View::Results);
                let suite = match *name {
                    drgn::NAME => drgn::of(cx, kernel),
                    name => suite::find(name).and_then(run).map(Outcome::tally),
                };
                tally += suite
                    .unwrap_or_else(|error| Tally::failure(&error))
                    .within(name);
            }
        }
        // A kernel that does not build counts as one failed test.
        Err(error) => tally += Tally::failure(error),
    }
    let row = Row {
        target: target.name,
        name: named.name,
        built: has_kernel.then_some(built),
        tested: start.elapsed(),
        passed: tally.failed() == 0,
        counts: tally.to_string(),
    };
    (row, tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::named::NAMED;

    fn row(built: Option<u64>) -> String {
        let row = Row {
            target: "x86_64",
            name: "clang-inline",
            built: built.map(Duration::from_secs),
            tested: Duration::from_secs(61),
            passed: built.is_some(),
            counts: "9 passed, 0 failed".into(),
        };
        console::strip_ansi_codes(&row.to_string()).into_owned()
    }

    #[test]
    fn a_row_tells_the_times_and_the_results() {
        assert_eq!(
            row(Some(3600)),
            "✓ x86_64   clang-inline    01:00:00    00:01:01  9 passed, 0 failed"
        );
    }

    #[test]
    fn a_kernel_that_is_not_there_has_no_build_time() {
        let text = row(None);
        assert!(text.starts_with("✗ x86_64   clang-inline "), "{text}");
        assert!(
            text.contains("no kernel") && !text.contains("passed"),
            "{text}"
        );
    }

    #[test]
    fn the_suites_are_there() {
        for name in NAMED.iter().flat_map(suites) {
            assert!(*name == drgn::NAME || suite::find(name).is_ok(), "{name}");
        }
    }
}
