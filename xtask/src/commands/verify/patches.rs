// SPDX-License-Identifier: GPL-2.0
//! Judges the patch engine, `tools/klp-diff`.

use crate::commands::verify::findings::{thousands, Findings};
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::tally::{mark, Tally};
use crate::tools::{provision, target};
use anyhow::{bail, Context as _, Result};
use klp_diff::finish::finish;
use klp_diff::{Diff, Environment, Error};
use std::path::Path;
use std::time::Instant;

/// How many mutated objects each property tries in `cargo xtask test`.
const QUICK: u64 = 256;

/// Judges the pairs of a directory, or without one the corpus and mutated objects.
pub fn run(cx: &Context, objects: Option<&Path>, cases: u64) -> Result<Findings> {
    if let Some(directory) = objects {
        return judge(directory);
    }
    let tally = tests(cx, cases)?;
    Ok(Findings::one(
        tally.failed() == 0 && tally.passed > 0,
        format!(
            "{} tests held, {} failed; {} mutated inputs each",
            tally.passed,
            tally.failed(),
            thousands(cases)
        ),
    ))
}

/// Judges the corpus, and a few mutated objects.
pub fn quick(cx: &Context) -> Result<Tally> {
    let tally = tests(cx, QUICK)?;
    println!("  {} tests passed, {} failed", tally.passed, tally.failed());
    Ok(tally)
}

/// What is expected of a pair.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// A module with so many functions.
    Functions(usize),
    /// A module.
    Module,
    /// A refusal.
    Refused,
}

/// One line of `expected.tsv`.
#[derive(Debug, PartialEq, Eq)]
struct Case {
    arch: String,
    name: String,
    expected: Expected,
}

impl Case {
    /// Parses a line. Further fields are notes.
    fn parse(line: &str) -> Result<Self> {
        let mut fields = line.split('\t');
        let (Some(arch), Some(name), Some(expected)) =
            (fields.next(), fields.next(), fields.next())
        else {
            bail!("`{line}` has fewer than three fields, separated by tabs");
        };
        let expected = match expected {
            "refused" => Expected::Refused,
            "-" => Expected::Module,
            number => Expected::Functions(number.parse().with_context(|| {
                format!("`{number}` is neither a number of functions, nor `refused`, nor `-`")
            })?),
        };
        Ok(Self {
            arch: arch.to_owned(),
            name: name.to_owned(),
            expected,
        })
    }

    /// Compares both objects, and makes the module.
    fn decide(&self, directory: &Path) -> Result<Result<usize, Error>> {
        let read = |version: &str| {
            let file = format!("{}/{}.{version}.o", self.arch, self.name);
            let path = directory.join(file);
            std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))
        };
        let (original, patched) = (read("orig")?, read("patched")?);
        let environment = Environment::default();
        let functions = Diff::new(&original, &patched, &environment).and_then(|diff| {
            finish(&diff.write(&environment)?)?;
            Ok(diff.functions().len())
        });
        Ok(functions)
    }

    /// Whether the decision is the one that is expected.
    fn holds(&self, decision: &Result<usize, Error>) -> bool {
        match (&self.expected, decision) {
            (Expected::Functions(expected), Ok(functions)) => functions == expected,
            (Expected::Module, Ok(_)) => true,
            (Expected::Refused, Err(Error::Refused(_) | Error::NothingChanged)) => true,
            _ => false,
        }
    }
}

/// Judges every pair that `expected.tsv` lists, and prints a table.
fn judge(directory: &Path) -> Result<Findings> {
    let list = directory.join("expected.tsv");
    let text = std::fs::read_to_string(&list).with_context(|| {
        format!(
            "can't read {}: give --objects a directory with it",
            list.display()
        )
    })?;
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cases: Vec<_> = lines.map(Case::parse).collect::<Result<_>>()?;
    if cases.is_empty() {
        bail!("{} lists no pairs", list.display());
    }
    let start = Instant::now();
    let mut right = 0;
    for case in &cases {
        let decision = case.decide(directory)?;
        let holds = case.holds(&decision);
        right += usize::from(holds);
        let expected = match &case.expected {
            Expected::Functions(count) => count.to_string(),
            Expected::Module => "-".into(),
            Expected::Refused => "refused".into(),
        };
        let found = match &decision {
            Ok(count) => count.to_string(),
            Err(error) => match (holds, error.to_string().lines().next()) {
                (true, Some(line)) => {
                    format!("refused: {}", line.chars().take(100).collect::<String>())
                }
                _ => format!("refused: {error}"),
            },
        };
        println!(
            "  {} {:<8} {:<40} {expected:>7}  {found}",
            mark(holds),
            case.arch,
            case.name
        );
    }
    let took = start.elapsed().as_secs_f32();
    let figures = format!("{right} of {} pairs right, in {took:.1} s", cases.len());
    Ok(Findings::one(right == cases.len(), figures))
}

/// Ensures that the compilers of the corpus are there: those of all architectures.
pub fn ensure_compilers(cx: &Context) -> Result<()> {
    for target in target::supported() {
        provision::ensure(cx, &provision::for_build(target))?;
    }
    Ok(())
}

/// Runs the engine's tests that take the compilers of all architectures, with that many mutated
/// objects.
fn tests(cx: &Context, cases: u64) -> Result<Tally> {
    ensure_compilers(cx)?;
    let mut command = cargo::command(
        cx,
        "test --release --package klp-diff --features compilers --test corpus --test mutations",
    )?;
    command.env("PROPTEST_CASES", cases.to_string());
    let title = "Try the patch engine with every compiler";
    Ok(cargo::tests(cx, title, command).tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_expected() {
        let parsed = |line| Case::parse(line).unwrap().expected;
        assert_eq!(parsed("s390\ta\t3\tNOTE=1"), Expected::Functions(3));
        assert_eq!(parsed("s390\ta\t-"), Expected::Module);
        assert_eq!(parsed("s390\ta\trefused"), Expected::Refused);
        let error = Case::parse("s390\ta\tmany").unwrap_err().to_string();
        assert!(error.contains("`many`"), "{error}");
        assert!(Case::parse("s390 a 3").is_err());
    }

    #[test]
    fn an_object_that_can_not_be_read_is_no_refusal() {
        let case = Case::parse("x86_64\ta\trefused").unwrap();
        let mismatch = Err(Error::Mismatch("architecture"));
        assert!(!case.holds(&mismatch));
        assert!(case.holds(&Err(Error::NothingChanged)));
        assert!(!case.holds(&Ok(1)));
    }
}
