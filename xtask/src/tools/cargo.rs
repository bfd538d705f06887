// SPDX-License-Identifier: GPL-2.0
//! Runs cargo on the workspace, and reads the results of its tests.

use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use steps::step::Step;
use xshell::cmd;

/// Returns a cargo command with these arguments, which are words. It lacks the variables that the cargo that runs
/// xtask has set for xtask's own package.
pub fn command(cx: &Context, arguments: &str) -> Result<Command> {
    let sh = cx.shell()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = arguments.split_whitespace();
    Ok(clean(cmd!(sh, "{cargo} {arguments...}").into()))
}

/// Returns a command that runs these words with the nightly toolchain, which only rustup provides.
pub fn nightly(cx: &Context, words: &str) -> Result<Command> {
    let (sh, words) = (cx.shell()?, words.split_whitespace());
    let mut command = clean(cmd!(sh, "rustup run nightly {words...}").into());
    for name in ["CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(name);
    }
    Ok(command)
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs tests as a step. If it fails, prints the reason and the names of the failed tests.
pub fn tests(cx: &Context, title: &str, command: Command) -> Tested {
    let step = Step::new(cx, title, command).counting(is_result);
    let log = step.log();
    let result = step.run();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let mut tally = count(&text);
    if let Err(error) = result {
        for name in failures(&text) {
            println!("  {} {name}", tally::mark(false));
        }
        // A crate that does not compile has no test results, so the error counts as a failure.
        match tally.failed() {
            0 => tally += Tally::failure(&error),
            _ => eprintln!("error: {error:#}"),
        }
    }
    Tested { tally, text, log }
}

/// The outcome of a test run.
pub struct Tested {
    /// The numbers of passed, failed and skipped tests.
    pub tally: Tally,
    /// The output of the tests.
    pub text: String,
    /// The log with that output.
    pub log: PathBuf,
}

/// Whether a line reports the result of a test.
pub fn is_result(line: &str) -> bool {
    line.starts_with("test ") && line.contains(" ... ")
}

/// Returns the names of the failed tests.
pub fn failures(log: &str) -> impl Iterator<Item = &str> {
    log.lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
}

/// Adds up the summary lines of all test programs.
pub fn count(log: &str) -> Tally {
    let mut total = Tally {
        failures: failures(log).map(str::to_owned).collect(),
        ..Tally::default()
    };
    for line in log.lines().filter(|line| line.starts_with("test result: ")) {
        total.passed += number_before(line, " passed;");
        total.skipped += number_before(line, " ignored;");
    }
    total
}

/// Returns the number before `what` in a line, or 0 if there is none.
pub fn number_before(line: &str, what: &str) -> usize {
    let end = line.find(what).unwrap_or(0);
    line[..end]
        .split_whitespace()
        .next_back()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named() {
        let log = "test a::b ... ok\ntest a::c ... FAILED\ntest result: FAILED. 1 passed\n";
        assert_eq!(failures(log).collect::<Vec<_>>(), ["a::c"]);
    }

    #[test]
    fn the_counts_of_all_programs_are_added_up() {
        let log = "running 2 tests\n\
                   test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                   test a ... FAILED\ntest b ... FAILED\n\
                   test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out\n";
        assert_eq!(count(log).to_string(), "5 passed, 2 failed, 1 skipped");
    }
}
