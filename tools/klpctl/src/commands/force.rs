// SPDX-License-Identifier: GPL-2.0
//! `klpctl force`: ends a transition without waiting for the tasks that are left.

use super::transition::chosen;
use crate::failure::{Exit, Failure, Result};
use crate::output::{first_blockers, left, Answer, Output};
use crate::system::patches::{Patch, State};
use crate::system::System;
use rustix::io::Errno;
use serde::Serialize;

#[derive(Serialize)]
struct Forced<'a> {
    patch: &'a str,
    tasks_left: Option<u64>,
}

/// Runs the command.
pub fn run(system: &System, output: &Output, name: &str, yes: bool) -> Result<Answer> {
    let Some(patch) = chosen(system, Some(name))? else {
        return Err(crate::system::no_patch(name));
    };
    let name = &patch.name;
    if !patch.state.is_transition() {
        return Err(nothing_to_force(name, patch.state));
    }
    // Opened before the question: what is forced is the patch that the user saw.
    let attribute = system.attribute(name, "force")?;
    let progress = system.progress(&patch);
    output.say(&format!(
        "{name}: {}, {}{}.\n\
         Forced, these tasks count as moved wherever they are. One that is inside a patched\n\
         function may mix old and new code: data may be corrupted, and the machine may crash.\n\
         A live patch that is being taken back or replaced stays loaded until the next boot.",
        patch.state.word(),
        left(&progress),
        first_blockers(&progress)
    ));
    if !yes {
        confirm(output, name)?;
    }
    // The state may have changed while the user was thinking.
    let now = system.state(name);
    if now != Some(patch.state) {
        return Err(changed(&patch, now));
    }
    if let Err(error) = attribute.write("1") {
        return Err(match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::NODEV) => changed(&patch, system.state(name)),
            _ => Failure::of_system(format_args!("cannot force {name}"), &error),
        });
    }
    let forced = Forced {
        patch: name,
        tasks_left: progress.left,
    };
    let text = format!(
        "{name}: forced, with {}. Next: plan a reboot.",
        left(&progress)
    );
    Ok(Answer::new(Exit::Done, text, &forced))
}

fn confirm(output: &Output, name: &str) -> Result<()> {
    let question = format!("To force it, type its name ({name}):");
    let cause = match output.ask(&question) {
        Some(line) if line == *name => return Ok(()),
        Some(_) => "not forced: that is not its name",
        None if output.interrupted() => "not forced: interrupted",
        None => "not forced: there is no terminal to ask on",
    };
    let next = format!("klpctl why {name}; klpctl force --yes {name} does not ask");
    Err(Failure::new(Exit::NotConfirmed, cause, next))
}

fn nothing_to_force(name: &str, state: State) -> Failure {
    Failure::new(
        Exit::Refused,
        format!(
            "{name} is in no transition ({}): there is nothing to force",
            state.word()
        ),
        "klpctl status",
    )
}

fn changed(patch: &Patch, now: Option<State>) -> Failure {
    let now = now.map_or("gone", State::word);
    Failure::new(
        Exit::Reversed,
        format!(
            "{} was {}, and is {now} by now: it was not forced",
            patch.name,
            patch.state.word()
        ),
        "klpctl status",
    )
}
