// SPDX-License-Identifier: GPL-2.0
//! Runs libFuzzer on the targets of `tests/fuzz` until it finds nothing new.
//!
//! What it finds is kept in the cache, and the next run begins with that.

use crate::commands::verify::findings::{thousands, Findings};
use crate::commands::verify::patches;
use crate::commands::verify::sanitizers::TARGET;
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::need::program;
use crate::tools::provision;
use anyhow::{ensure, Context as _, Result};
use fuzz::Target;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use steps::place;
use steps::step::Step;

/// What makes the compiler count the edges that an input takes and the comparisons that it fails, as
/// libFuzzer reads them, and check what a release build does not.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
];

/// After so many rounds a target is left, though the last one found something. Each is as long as all
/// before it.
const ROUNDS: u32 = 6;

/// How long a round may take.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Runs every target, with `cases` inputs at first.
pub fn run(cx: &Context, cases: u64) -> Result<Findings> {
    provision::ensure(cx, &[program("g++", &["g++"])])?;
    patches::ensure_compilers(cx)?;
    let _lock = cx.lock("fuzz")?;
    let seeds = seeds(cx)?;
    let fuzzer = build(cx)?;
    let mut findings = Findings {
        passed: true,
        figures: Vec::new(),
    };
    for target in fuzz::TARGETS {
        let cases = (cases / target.slowness).max(1);
        let figure = one(cx, &fuzzer, &seeds, target, cases).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            findings.passed = false;
            "FAILED".into()
        });
        findings
            .figures
            .push(format!("{} ({}): {figure}", target.name, target.about));
    }
    Ok(findings)
}

/// Makes the inputs that compilers make. Returns their directory, which has one for each target.
fn seeds(cx: &Context) -> Result<PathBuf> {
    let dir = cx.cache.join("fuzz/seeds");
    let arguments = "test --release --package klp-diff --features seeds --test mutations seeds_for";
    let mut command = cargo::command(cx, arguments)?;
    command.env("FUZZ_SEEDS", &dir);
    Step::new(cx, "Compile objects to begin with", command).run()?;
    Ok(dir)
}

/// Builds the fuzzer.
fn build(cx: &Context) -> Result<PathBuf> {
    let dir = cx.root.join("target/fuzz");
    let arguments = "build --release --package fuzz --features guided --target";
    let mut command = cargo::command(cx, arguments)?;
    command
        .args([TARGET, "--target-dir"])
        .arg(&dir)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    Step::new(cx, "Build the fuzzer", command).run()?;
    Ok(dir.join(TARGET).join("release/fuzz"))
}

/// Runs one target until a round finds nothing. Returns a line on it.
fn one(cx: &Context, fuzzer: &Path, seeds: &Path, target: &Target, cases: u64) -> Result<String> {
    let (corpus, seeds) = (
        cx.cache.join("fuzz").join(target.name),
        seeds.join(target.name),
    );
    for dir in [&corpus, &seeds] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    for (index, seed) in target.seeds.iter().enumerate() {
        place::put(&seeds.join(format!("given-{index}")), seed)?;
    }
    let (mut inputs, mut edges) = (0, 0);
    for round in 0..ROUNDS {
        // The first round takes what is there already.
        let runs = if round == 0 { cases } else { inputs };
        let title = format!("Fuzz {}, {} inputs", target.name, thousands(runs));
        let mut command = Command::new(fuzzer);
        command
            .env("FUZZ_TARGET", target.name)
            .args([
                "-seed=1",
                "-timeout=20",
                "-rss_limit_mb=4096",
                "-max_len=65536",
            ])
            .arg(format!("-runs={runs}"))
            .arg(format!(
                "-artifact_prefix={}/fuzz-{}-",
                cx.logs().display(),
                target.name
            ))
            .args([&corpus, &seeds]);
        let hint = format!(
            "FUZZ_TARGET={} {} FILE, with the file that the log names, runs that input alone",
            target.name,
            fuzzer.display()
        );
        let step = Step::new(cx, &title, command)
            .hint(&hint)
            .deadline(DEADLINE);
        let log = step.run()?;
        let found = edges_in(&String::from_utf8_lossy(&fs::read(&log)?))
            .with_context(|| format!("the log does not say what was reached: {}", log.display()))?;
        inputs += runs;
        if round > 0 && found == edges {
            return Ok(format!(
                "{} inputs reach {edges} edges, and the last {} no other",
                thousands(inputs),
                thousands(runs)
            ));
        }
        ensure!(
            found >= edges,
            "the inputs of a round got lost: {}",
            corpus.display()
        );
        edges = found;
    }
    Ok(format!(
        "{} inputs reach {edges} edges, and the last round found some of them: more would find more",
        thousands(inputs)
    ))
}

/// Returns the number of edges that libFuzzer says at the end, in a line like `#9 DONE   cov: 90 ft: 99 ...`.
fn edges_in(log: &str) -> Option<u64> {
    let line = log.lines().rfind(|line| line.contains("DONE"))?;
    line.split("cov: ").nth(1)?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_says_what_was_reached() {
        let log = "#2\tINITED cov: 7 ft: 8 corp: 1/1b\n#10\tDONE   cov: 152 ft: 300 corp: 9/1Kb\nDone 10 runs\n";
        assert_eq!(edges_in(log), Some(152));
        assert_eq!(edges_in("#2\tINITED cov: 7 ft: 8\n"), None);
    }
}
