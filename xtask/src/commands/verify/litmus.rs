// SPDX-License-Identifier: GPL-2.0
//! Runs the litmus tests, `Documentation/litmus-tests/livepatch`, with the kernel's memory model, and
//! each again with one ordering weakened.

mod orderings;
mod table;
mod test;

use crate::commands::verify::findings::Findings;
use crate::kernel::source::Source;
use crate::tools::context::Context;
use crate::tools::herd::Herd;
use anyhow::{Context as _, Result};
use orderings::Orderings;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::place;
use steps::step::Step;
use table::Table;
use test::{Test, Twin};

/// Longest time that all tests may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The verdict on a test that holds.
const NEVER: &str = "Never";

/// The verdict on a test whose accesses the model does not define.
const DATA_RACE: &str = "Data race";

/// Runs the tests and their twins.
pub fn run(cx: &Context) -> Result<Findings> {
    let tests = Test::all(&cx.root)?;
    let table = Table::read(&cx.root)?;
    let mut wrong = table.disagreements(&Orderings::of_checkout(cx)?, &tests);

    let (herd, model) = (Herd::get(cx)?, Source::choose(cx)?.upstream());
    let twins = tests.iter().map(Test::twins).collect::<Result<Vec<_>>>()?;
    let dir = cx.logs().join("litmus");
    let each = twins.iter().flatten();
    write(
        &dir,
        each.map(|twin| (twin.name.as_str(), twin.text.as_str())),
    )?;
    let verdicts = |title: &str, files: &[PathBuf]| -> Result<BTreeMap<String, String>> {
        let step = Step::new(cx, title, herd.command(&model, files))
            .deadline(DEADLINE)
            .counting(|line| line.starts_with("Observation "))
            .of(files.len());
        let log = step.run()?;
        let said = fs::read_to_string(&log)?;
        verdicts_in(&said).with_context(|| format!("see {}", log.display()))
    };
    let on_tests = verdicts("Run the litmus tests", &test_files(cx, &tests))?;
    let on_twins = verdicts("Run their twins", &twin_files(&dir, twins.iter().flatten()))?;

    let (mut held, mut failed) = (0, 0);
    for (test, twins) in tests.iter().zip(&twins) {
        match on_tests.get(&test.name).map(String::as_str) {
            Some(NEVER) => held += 1,
            Some(verdict) => wrong.push(format!("test {}: {verdict}", test.name)),
            None => wrong.push(format!("test {}: herd7 gives no verdict", test.name)),
        }
        for twin in twins {
            let verdict = on_twins
                .get(&twin.name)
                .map_or("no verdict", String::as_str);
            println!("  {}: {verdict} without {}", twin.name, words(twin));
            if ![NEVER, "no verdict"].contains(&verdict) {
                failed += 1;
            }
            for key in &twin.orderings {
                let said = table.0.get(key).and_then(|row| row.tests.get(&test.name));
                if said.is_none_or(|said| said != verdict) {
                    wrong.push(format!(
                        "{}: {}: the twin of {} gives `{verdict}`, not `{}`",
                        key.0,
                        key.1,
                        test.name,
                        said.map_or("", String::as_str)
                    ));
                }
            }
        }
    }
    let mut findings = Findings::one(
        wrong.is_empty() && held > 0,
        format!(
            "{held} of {} tests hold; {failed} of {} twins fail; {} orderings",
            tests.len(),
            on_twins.len(),
            table.0.len()
        ),
    );
    findings.figures.extend(wrong);
    Ok(findings)
}

/// Returns what a twin leaves out, in words.
fn words(twin: &Twin) -> String {
    let names = twin.orderings.iter();
    let names: Vec<String> = names
        .map(|(place, kind)| format!("{place}: {kind}"))
        .collect();
    names.join("; ")
}

/// Writes the tests with these names and texts into the new directory `dir`.
fn write<'a>(dir: &Path, tests: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    place::remove(dir)?;
    fs::create_dir_all(dir)?;
    for (name, text) in tests {
        fs::write(dir.join(format!("{name}.litmus")), text)?;
    }
    Ok(())
}

fn test_files(cx: &Context, tests: &[Test]) -> Vec<PathBuf> {
    let dir = cx.root.join(test::TESTS);
    tests
        .iter()
        .map(|test| dir.join(format!("{}.litmus", test.name)))
        .collect()
}

fn twin_files<'a>(dir: &Path, twins: impl Iterator<Item = &'a Twin>) -> Vec<PathBuf> {
    twins
        .map(|twin| dir.join(format!("{}.litmus", twin.name)))
        .collect()
}

/// Returns the verdict on each test in what herd7 has said. Errors: herd7 warns.
fn verdicts_in(said: &str) -> Result<BTreeMap<String, String>> {
    let mut verdicts = BTreeMap::new();
    let mut flag = None;
    for line in said.lines() {
        if line.starts_with("Warning: ") || line.starts_with("Fatal error: ") {
            anyhow::bail!("herd7 says: {line}");
        } else if let Some(name) = line.strip_prefix("Flag ") {
            flag = Some(name);
        } else if let Some(observation) = line.strip_prefix("Observation ") {
            let mut words = observation.split(' ');
            let (name, verdict) = (words.next(), words.next());
            let verdict = match flag.take() {
                None => verdict.unwrap_or_default(),
                Some("data-race") => DATA_RACE,
                Some(other) => other,
            };
            verdicts.insert(name.unwrap_or_default().to_owned(), verdict.to_owned());
        }
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn herd_gives_a_verdict_on_each_test() {
        let said = "Test a Allowed\nStates 1\nNo\nCondition exists (1:r0=1)\n\
                    Observation a Never 0 3\nTest b Allowed\nFlag data-race\n\
                    Observation b Never 0 2\nObservation c Sometimes 1 2\n";
        let verdicts = verdicts_in(said).unwrap();
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|(name, verdict)| (&**name, &**verdict))
            .collect();
        assert_eq!(
            verdicts,
            [("a", "Never"), ("b", "Data race"), ("c", "Sometimes")]
        );
    }

    #[test]
    fn what_herd_can_not_read_is_an_error() {
        let error = verdicts_in("Observation a Never 0 3\nWarning: File \"b.litmus\", line 1\n");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("b.litmus"), "{error}");
    }
}
