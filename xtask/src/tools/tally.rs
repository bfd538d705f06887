// SPDX-License-Identifier: GPL-2.0
//! Counts tests, and keeps what explains the failed ones.

use anyhow::Result;
use console::{style, StyledObject};
use std::fmt;
use std::ops::AddAssign;

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

    /// Returns the tally with the place at the start of each failure.
    pub fn within(mut self, place: &str) -> Self {
        for failure in &mut self.failures {
            failure.insert_str(0, &format!("{place}: "));
        }
        self
    }
}

/// Returns the mark before a result.
pub fn mark(passed: bool) -> StyledObject<&'static str> {
    match passed {
        true => style("✓").green(),
        false => style("✗").red(),
    }
}

/// Ends xtask as failed if anything failed. There is no error message: the failures are explained
/// already, and the counts stay the last line.
pub fn conclude(failed: usize) -> Result<()> {
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}
