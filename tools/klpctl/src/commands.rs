// SPDX-License-Identifier: GPL-2.0
//! The commands, one module each.

mod boot;
mod force;
mod history;
mod info;
mod install;
mod list;
mod load;
mod man;
mod status;
mod transition;
mod unload;
mod wait;
mod why;

use crate::cli::Command;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Answer, Output};
use crate::system::System;
use serde::Serialize;

/// Runs a command.
pub fn run(command: &Command, system: &System, output: &Output) -> Result<Answer> {
    match command {
        Command::Status => status::run(system),
        Command::List { verbose } => list::run(system, *verbose),
        Command::Info { patch } => info::run(system, patch),
        Command::Load {
            patch, patience, ..
        } => load::run(system, output, patch.as_deref(), *patience),
        Command::Unload {
            patch, patience, ..
        } => unload::run(system, output, patch.as_deref(), *patience),
        Command::Wait { patch, patience } => wait::run(system, output, patch.as_deref(), *patience),
        Command::Why { patch, verbose } => why::run(system, patch.as_deref(), *verbose),
        Command::History { patch } => history::run(system, patch.as_deref()),
        Command::Force { patch, yes } => force::run(system, output, patch, *yes),
        Command::Install { file } => install::install(system, file),
        Command::Uninstall { patch, kernel } => {
            install::uninstall(system, patch, kernel.as_deref())
        }
        Command::Boot { patience } => boot::run(system, output, *patience),
        Command::Completions { shell } => Ok(man::completions(*shell)),
        Command::Man => man::page(),
    }
}

/// What became of one live patch.
struct Done {
    exit: Exit,
    text: String,
    json: serde_json::Value,
}

impl Done {
    fn new(text: String, json: &impl Serialize) -> Self {
        let Answer { exit, text, json } = Answer::new(Exit::Done, text, json);
        Self { exit, text, json }
    }
}

impl From<Failure> for Done {
    fn from(failure: Failure) -> Self {
        Self {
            exit: failure.exit,
            text: format!("{}\nnext: {}", failure.cause, failure.next),
            json: serde_json::to_value(failure.json()).unwrap_or_default(),
        }
    }
}

/// Does the same to the live patch that was named, or else to `all`; without any, `none` is the answer.
///
/// The exit code is that of the first that is not done. An interruption ends it.
fn one_or_all<T>(
    named: Option<T>,
    all: impl FnOnce() -> Result<Vec<T>>,
    none: String,
    act: impl Fn(&T) -> Result<Done>,
) -> Result<Answer> {
    if let Some(one) = named {
        let Done { exit, text, json } = act(&one)?;
        return Ok(Answer { exit, text, json });
    }
    let (mut text, mut json, mut first) = (Vec::new(), Vec::new(), Exit::Done);
    for one in all()? {
        let done = act(&one)?;
        text.push(done.text);
        json.push(done.json);
        if first == Exit::Done {
            first = done.exit;
        }
        if done.exit == Exit::Interrupted {
            break;
        }
    }
    if text.is_empty() {
        text.push(none);
    }
    Ok(Answer::new(first, text.join("\n"), &json))
}
