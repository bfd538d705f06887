// SPDX-License-Identifier: GPL-2.0
//! Proves the invariant for any number of tasks, `tests/invariant`, with a prover, and each step of
//! it again with one condition left out: then it has to fail. Lets the model checker find that each
//! step of the code is one of the proof.

use crate::commands::verify::findings::{thousands, Findings};
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::need::{program, Need};
use crate::tools::provision;
use anyhow::{bail, Context as _, Result};
use invariant::smt::Script;
use invariant::System;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use steps::step::Step;

/// The prover.
const Z3: Need = program("z3", &["z3"]);

/// Longest time that a proof may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// What the prover says if there is an example.
const EXAMPLE: &str = "sat";
/// What it says if there is none.
const NONE: &str = "unsat";

/// Runs the part.
pub fn run(cx: &Context) -> Result<Findings> {
    provision::ensure(cx, &[Z3])?;
    let system = invariant::transition()?;
    let mut findings = Findings {
        passed: true,
        figures: Vec::new(),
    };
    let start = Instant::now();
    let mut wrong = Vec::new();
    let proof = system.proof();
    let answers = ask(cx, "Prove the invariant", "invariant.smt2", &proof)?;
    for (script, answers) in proof.iter().zip(&answers) {
        wrong.extend(script.disagreements(answers));
    }
    let proved = answers.iter().flatten().filter(|own| *own == NONE).count();
    let promises = system.invariants.iter().filter(|own| own.promise).count();
    findings.figures.push(format!(
        "{promises} promises and what they need, {} in all, hold at first and after each of {} steps: \
         {} obligations proved in {:.0} s",
        system.invariants.len(),
        system.actions.len(),
        thousands(proved as u64),
        start.elapsed().as_secs_f32(),
    ));

    let start = Instant::now();
    let twins = system.twins();
    let answers = ask(
        cx,
        "Fail to prove its twins",
        "invariant-twins.smt2",
        &twins,
    )?;
    let mut failed = 0;
    for (script, answers) in twins.iter().zip(&answers) {
        let (broken, disagreements) = (script.broken(answers), script.disagreements(answers));
        println!("  {} breaks {}", script.name, broken.join(", "));
        failed += usize::from(!broken.is_empty() && disagreements.is_empty());
        wrong.extend(disagreements);
    }
    findings.figures.push(format!(
        "{failed} of {} twins, each with one condition left out, break what they have to: {:.0} s",
        twins.len(),
        start.elapsed().as_secs_f32(),
    ));
    findings.figures.push(refine(cx, &system, &mut wrong)?);
    findings.passed = wrong.is_empty();
    findings.figures.extend(wrong);
    Ok(findings)
}

/// Asks the prover. Returns its answers to the questions of each script.
fn ask(cx: &Context, title: &str, file: &str, scripts: &[Script]) -> Result<Vec<Vec<String>>> {
    let path = cx.logs().join(file);
    let text: String = scripts.iter().map(whole).collect();
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    let mut command = Command::new("z3");
    command.arg(&path);
    let questions = scripts.iter().map(|script| script.questions.len()).sum();
    let step = Step::new(cx, title, command)
        .deadline(DEADLINE)
        .counting(is_answer)
        .of(questions);
    // The prover's exit status is not 0 if it answers that it does not know.
    let log = step.run()?;
    answers_in(&fs::read_to_string(&log)?, scripts)
        .with_context(|| format!("see {}", log.display()))
}

/// Returns a script so that others can come before and after it.
fn whole(script: &Script) -> String {
    format!("(echo \"{}\")\n{}(reset)\n", script.name, script.text)
}

fn is_answer(line: &str) -> bool {
    [EXAMPLE, NONE, "unknown", "timeout"].contains(&line)
}

/// Finds the answers in what the prover has said. Errors: it complains, or answers are missing.
fn answers_in(said: &str, scripts: &[Script]) -> Result<Vec<Vec<String>>> {
    let mut lines = said.lines();
    let mut answers = Vec::new();
    for script in scripts {
        let mut own = Vec::new();
        if lines.next() != Some(&script.name) {
            bail!("the prover says nothing about `{}`", script.name);
        }
        for question in &script.questions {
            match lines.next() {
                Some(line) if is_answer(line) => own.push(line.to_owned()),
                line => bail!(
                    "{}: {}: the prover says: {}",
                    script.name,
                    question.what,
                    line.unwrap_or("nothing")
                ),
            }
        }
        answers.push(own);
    }
    Ok(answers)
}

/// Lets the model checker compare the code with the proof.
fn refine(cx: &Context, system: &System, wrong: &mut Vec<String>) -> Result<String> {
    let arguments = "run --release --package model -- --quick --refine";
    let step = Step::new(
        cx,
        "Find the steps of the code",
        cargo::command(cx, arguments)?,
    );
    let step = step.counting(|line| Refined::parse(line).is_some());
    let log = step.log();
    if let Err(error) = step.run() {
        eprintln!("error: {error:#}");
        wrong.push("not every step of the code is one of the proof".to_owned());
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    let refined: Vec<_> = said.lines().filter_map(Refined::parse).collect();
    if refined.is_empty() {
        wrong.push("no scenario was searched".to_owned());
    }
    let met: BTreeSet<_> = refined.iter().flat_map(|own| own.met.clone()).collect();
    let names = system.actions.iter().map(|action| action.name.as_str());
    let missing: Vec<_> = names.filter(|name| !met.contains(*name)).collect();
    let sum = |of: fn(&Refined) -> u64| thousands(refined.iter().map(of).sum());
    let but = match missing.as_slice() {
        [] => String::new(),
        missing => format!(", all but {}", missing.join(", ")),
    };
    Ok(format!(
        "{} scenarios of the code: the invariant holds in {} states, and {} steps are steps of the \
         proof{but}",
        refined.len(),
        sum(|own| own.states),
        sum(|own| own.steps),
    ))
}

/// What the model checker says of a scenario.
#[derive(Debug, PartialEq, Eq)]
struct Refined {
    states: u64,
    steps: u64,
    met: Vec<String>,
}

impl Refined {
    /// Parses `proof: <scenario>: N states, M steps, made of <step> ...`.
    fn parse(line: &str) -> Option<Self> {
        let (_, figures) = line.strip_prefix("proof: ")?.rsplit_once(": ")?;
        let (figures, met) = figures.split_once(", made of ")?;
        let (states, steps) = figures.split_once(" states, ")?;
        Some(Self {
            states: states.parse().ok()?,
            steps: steps.strip_suffix(" steps")?.parse().ok()?,
            met: met.split(' ').map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts() -> Vec<Script> {
        let text = "sort A data p(A) var a : A init p(a) invariant all p(a) \
                    step lose(a) \"no function\" when [hope: all] !p(a) set p(a) := false";
        invariant::parse::parse(text).unwrap().twins()
    }

    #[test]
    fn the_prover_answers_each_question() {
        let scripts = scripts();
        let name = &scripts[0].name;
        let answers = |said: &str| answers_in(&format!("{name}\n{said}"), &scripts);
        assert_eq!(answers("sat\nunsat\n").unwrap(), [["sat", "unsat"]]);
        for (said, complaint) in [
            ("sat\n", "all: the prover says: nothing"),
            ("sat\n(error \"line 1\")\n", "(error \"line 1\")"),
        ] {
            let error = answers(said).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        assert!(answers_in("sat\nunsat\n", &scripts).is_err());
    }

    #[test]
    fn a_twin_has_to_fail_as_expected() {
        let scripts = scripts();
        let wrong = |answers: [&str; 2]| scripts[0].disagreements(&answers.map(str::to_owned));
        assert!(wrong(["sat", "sat"]).is_empty());
        for answers in [["sat", "unsat"], ["unsat", "sat"], ["sat", "unknown"]] {
            assert_eq!(wrong(answers).len(), 1, "{answers:?}");
        }
    }

    #[test]
    fn a_scenario_has_figures() {
        let line = "proof: fork, exit: 12 states, 34 steps, made of run sleep";
        let refined = Refined {
            states: 12,
            steps: 34,
            met: vec!["run".to_owned(), "sleep".to_owned()],
        };
        assert_eq!(Refined::parse(line), Some(refined));
        assert_eq!(Refined::parse("proof: fork: violation"), None);
    }
}
