// SPDX-License-Identifier: GPL-2.0
//! The host's part: formatting, lints, and every crate's own tests.

use super::Tally;
use crate::build::Kernel;
use crate::context::Context;
use crate::step::Step;
use anyhow::Result;
use console::style;
use std::process::Command;
use xshell::cmd;

/// Runs them all.
pub fn run(cx: &Context) -> Tally {
    println!("{}", style("The host's tests").bold());
    let mut total = lint(
        cx,
        "Check the formatting",
        &["fmt", "--all", "--check", "--", "--color=never"],
        "cargo fmt --all",
    );
    total += format_bridge(cx);
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    total += lint(cx, "Check with clippy", &clippy, "mend what it points to");
    total += tests(cx);
    total
}

/// The formatting of what only Kbuild compiles, and `cargo fmt` therefore does not see.
fn format_bridge(cx: &Context) -> Tally {
    let root = cx.root.join("core/linux/livepatch.rs");
    let check = || -> Result<()> {
        let sh = cx.shell()?;
        let command = cmd!(sh, "rustfmt --edition 2021 --check --color never {root}");
        Step::new(cx, "Check the bridge's formatting", command)
            .hint("rustfmt --edition 2021 core/linux/livepatch.rs")
            .run()
            .map(drop)
    };
    let result = check();
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    Tally::one(result.is_ok())
}

/// Our view of the ABI, against the headers of the kernel that was built.
pub fn abi(cx: &Context, kernel: &Kernel) -> Tally {
    let title = format!("Check the ABI of the {} kernel", kernel.target.name);
    let arguments = [
        "test",
        "--package",
        "abi-tests",
        "--features",
        "kernel-tree",
        "--test",
        "layout",
    ];
    let run = || -> Result<Tally> {
        let mut command = cargo(cx, &arguments)?;
        command
            .env("LIBCLANG_PATH", &kernel.tools.libclang.dir)
            .env("LIVEPATCH_KERNEL_OUT", &kernel.out)
            .env("LIVEPATCH_KERNEL_ARCH", kernel.target.name);
        let log = Step::new(cx, &title, command).counting(is_result).run()?;
        Ok(count(&std::fs::read_to_string(log)?))
    };
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Tally::one(false)
    })
}

fn lint(cx: &Context, title: &str, arguments: &[&str], hint: &str) -> Tally {
    let result =
        cargo(cx, arguments).and_then(|command| Step::new(cx, title, command).hint(hint).run());
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    Tally::one(result.is_ok())
}

/// The crates' tests, each counted.
fn tests(cx: &Context) -> Tally {
    let title = "Run the crates' tests";
    let arguments = ["test", "--workspace", "--no-fail-fast"];
    let result = cargo(cx, &arguments)
        .and_then(|command| Step::new(cx, title, command).counting(is_result).run());
    let log = cx.logs().join("run-the-crates-tests.log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let mut tally = count(&text);
    match result {
        Ok(_) => {}
        Err(error) => {
            eprintln!("error: {error:#}");
            for name in failures(&text) {
                println!("  {} {name}", style("✗").red());
            }
            // A crate that does not compile has no results.
            tally.failed = tally.failed.max(1);
        }
    }
    println!(
        "  {} tests passed, {} failed; log: {}",
        tally.passed,
        tally.failed,
        log.display()
    );
    tally
}

fn is_result(line: &str) -> bool {
    line.starts_with("test ") && line.contains(" ... ")
}

/// The names of the tests that failed.
fn failures(log: &str) -> impl Iterator<Item = &str> {
    log.lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
}

/// Adds up the lines that close each test program.
fn count(log: &str) -> Tally {
    let mut total = Tally::default();
    for line in log.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |what: &str| -> usize {
            let end = line.find(what).unwrap_or(0);
            line[..end]
                .split_whitespace()
                .next_back()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0)
        };
        let (passed, failed) = (number(" passed;"), number(" failed;"));
        total += Tally {
            passed,
            failed,
            skipped: number(" ignored;"),
        };
    }
    total
}

fn cargo(cx: &Context, arguments: &[&str]) -> Result<Command> {
    let sh = cx.shell()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = cmd!(sh, "{cargo} {arguments...}");
    // `cargo xtask` tells us about its own package, which is no business of these.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command = command.env_remove(name);
        }
    }
    Ok(command.into())
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
                   test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 5 filtered out\n";
        assert_eq!(
            count(log),
            Tally {
                passed: 5,
                failed: 4,
                skipped: 1
            }
        );
    }
}
