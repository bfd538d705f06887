// SPDX-License-Identifier: GPL-2.0
//! Tests mutants of the core with cargo-mutants. `.cargo/mutants.toml` includes and excludes
//! mutants.

use crate::commands::verify::findings::Findings;
use crate::tools::context::Context;
use crate::tools::tool;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use steps::place;
use steps::step::Step;

/// How long all mutants may take, with hundreds of builds.
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);

/// Settings for random tests: they find the same every time, and do not make a found input smaller.
const PROPTEST: [(&str, &str); 2] = [
    ("PROPTEST_RNG_SEED", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
];

/// Makes every mutant, and runs the host tests on each.
pub fn run(cx: &Context) -> Result<Findings> {
    let program = {
        let _lock = cx.lock("tools")?;
        tool::MUTANTS.get(cx)?
    };
    let out = cx.logs().join("mutants");
    place::remove(&out)?;
    fs::create_dir_all(&out)?;

    // cargo-mutants runs the cargo that `CARGO` names, as xtask does.
    let mut command = Command::new(program);
    command
        .current_dir(&cx.root)
        // Each job has its own target directory. A directory from the environment would be shared.
        .env_remove("CARGO_TARGET_DIR")
        .envs(PROPTEST)
        .args(["mutants", "--caught", "--unviable", "--colors", "never"])
        .args(["--jobs", &cx.jobs.to_string(), "--output"])
        .arg(&out);
    let step = Step::new(cx, "Test the mutants", command)
        .counting(is_outcome)
        .deadline(DEADLINE);
    let result = step.run();
    let list = |name: &str| outcomes(&out.join("mutants.out"), name);
    let (caught, timeout, unviable, missed) = (
        list("caught")?,
        list("timeout")?,
        list("unviable")?,
        list("missed")?,
    );
    let killed = caught.len() + timeout.len();
    let viable = killed + missed.len();
    // The exit status also reports tests that hang, and a hang is a way to notice a mutant.
    if let (Err(error), true) = (&result, missed.is_empty() && timeout.is_empty()) {
        eprintln!("error: {error:#}");
        return Ok(Findings::one(
            false,
            "cargo-mutants did not get to the end".into(),
        ));
    }
    let mut findings = Findings::one(
        missed.is_empty() && killed > 0,
        format!(
            "{killed} killed out of {viable}, {} of them by a test that hangs; {} do not compile; \
             {} left out as equivalent",
            timeout.len(),
            unviable.len(),
            left_out(&cx.root)?
        ),
    );
    findings
        .figures
        .extend(missed.iter().map(|mutant| format!("missed: {mutant}")));
    Ok(findings)
}

fn is_outcome(line: &str) -> bool {
    ["caught", "unviable", "MISSED", "TIMEOUT"]
        .iter()
        .any(|outcome| line.starts_with(outcome))
}

/// Returns the mutants with one outcome, a line each.
fn outcomes(out: &Path, name: &str) -> Result<Vec<String>> {
    let path = out.join(name).with_extension("txt");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cargo-mutants left no {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Returns how many patterns the configuration has for mutants that are not to be made.
fn left_out(root: &Path) -> Result<usize> {
    let text = fs::read_to_string(root.join(".cargo/mutants.toml"))?;
    Ok(patterns(&text))
}

fn patterns(text: &str) -> usize {
    text.lines()
        .skip_while(|line| !line.starts_with("exclude_re"))
        .filter(|line| line.trim_start().starts_with(['"', '\'']))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_counted_and_their_reasons_are_not() {
        let text = "a = [\n  'no',\n]\nexclude_re = [\n  # Why.\n  'one',\n  \"two\",\n]\n";
        assert_eq!(patterns(text), 2);
        assert_eq!(patterns("a = 1\n"), 0);
    }
}
