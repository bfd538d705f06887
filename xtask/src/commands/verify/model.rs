// SPDX-License-Identifier: GPL-2.0
//! Runs the model checker, `tests/model`.

use crate::commands::verify::findings::{thousands, Findings};
use crate::tools::cargo;
use crate::tools::context::Context;
use anyhow::Result;
use steps::step::Step;

/// Searches the model. If `quick`, the search takes only a few seconds.
pub fn run(cx: &Context, quick: bool) -> Result<Findings> {
    let (title, flag) = match quick {
        true => ("Search the model quickly", "--quick"),
        false => ("Search the model", ""),
    };
    let arguments = format!("run --release --package model -- {flag}");
    let step = Step::new(cx, title, cargo::command(cx, &arguments)?).counting(is_scenario);
    let log = step.log();
    let result = step.run();
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let scenarios: Vec<Scenario> = text.lines().filter_map(Scenario::parse).collect();
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    let sum = |of: fn(&Scenario) -> u64| thousands(scenarios.iter().map(of).sum());
    let properties = scenarios.iter().map(|scenario| scenario.properties);
    Ok(Findings::one(
        result.is_ok() && !scenarios.is_empty(),
        format!(
            "{} scenarios: {} states, {} transitions, {} properties hold",
            scenarios.len(),
            sum(|scenario| scenario.states),
            sum(|scenario| scenario.transitions),
            properties.max().unwrap_or(0),
        ),
    ))
}

fn is_scenario(line: &str) -> bool {
    Scenario::parse(line).is_some()
}

/// The checker's figures for one scenario.
#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    states: u64,
    transitions: u64,
    properties: u64,
}

impl Scenario {
    /// Parses `model: <scenario>: N states, M transitions, depth D, K properties hold`.
    fn parse(line: &str) -> Option<Self> {
        let (_, figures) = line.strip_prefix("model: ")?.rsplit_once(": ")?;
        let number = |what: &str| {
            let figure = figures.split(", ").find(|figure| figure.ends_with(what))?;
            figure.split(' ').next()?.parse().ok()
        };
        Some(Self {
            states: number(" states")?,
            transitions: number(" transitions")?,
            properties: number(" properties hold")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_holds_has_figures() {
        let line = "model: two tasks: 12 states, 34 transitions, depth 5, 6 properties hold";
        let scenario = Scenario {
            states: 12,
            transitions: 34,
            properties: 6,
        };
        assert_eq!(Scenario::parse(line), Some(scenario));
        assert_eq!(Scenario::parse("model: two tasks: violated: one"), None);
    }
}
