// SPDX-License-Identifier: GPL-2.0
//! `klpctl wait`: waits for a transition to end.

use super::transition::{chosen, follow, seconds};
use crate::cli::Patience;
use crate::failure::{Exit, Result};
use crate::output::{Answer, Output};
use crate::system::System;
use serde::Serialize;

#[derive(Serialize)]
struct Waited<'a> {
    patch: Option<&'a str>,
    state: Option<&'a str>,
    waited_seconds: f64,
}

/// Runs the command.
pub fn run(
    system: &System,
    output: &Output,
    name: Option<&str>,
    patience: Patience,
) -> Result<Answer> {
    let Some(patch) = chosen(system, name)? else {
        let nothing = Waited {
            patch: None,
            state: None,
            waited_seconds: 0.0,
        };
        return Ok(Answer::new(
            Exit::Done,
            "No transition is going on.",
            &nothing,
        ));
    };
    let on = patch.state.is_on();
    let took = follow(system, output, &patch.name, on, patience)?.as_secs_f64();
    let (state, text) = match on {
        true => ("enabled", "every task uses it"),
        false => ("disabled", "no task uses it"),
    };
    let text = match patch.state.is_transition() {
        true => format!("{}: {text}; waited {}.", patch.name, seconds(took)),
        false => format!("{}: {text}.", patch.name),
    };
    let waited = Waited {
        patch: Some(&patch.name),
        state: Some(state),
        waited_seconds: took,
    };
    Ok(Answer::new(Exit::Done, text, &waited))
}
