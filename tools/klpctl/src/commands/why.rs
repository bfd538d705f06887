// SPDX-License-Identifier: GPL-2.0
//! `klpctl why`: what a transition waits for.

use super::transition::{chosen, seconds};
use crate::failure::{Exit, Result};
use crate::output::{left, Answer};
use crate::system::patches::Patch;
use crate::system::report::Progress;
use crate::system::System;
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Why<'a> {
    patch: Option<&'a str>,
    state: Option<&'a str>,
    progress: Option<&'a Progress>,
}

/// Runs the command.
pub fn run(system: &System, name: Option<&str>, verbose: bool) -> Result<Answer> {
    let Some(patch) = chosen(system, name)? else {
        let nothing = Why {
            patch: None,
            state: None,
            progress: None,
        };
        return Ok(Answer::new(
            Exit::Done,
            "No transition is going on.",
            &nothing,
        ));
    };
    let mut progress = system.progress(&patch);
    if verbose {
        let stacks: Vec<_> = progress
            .blockers
            .iter()
            .map(|own| system.stack(own))
            .collect();
        for (blocker, stack) in progress.blockers.iter_mut().zip(stacks) {
            blocker.stack = stack;
        }
    }
    let why = Why {
        patch: Some(&patch.name),
        state: Some(patch.state.word()),
        progress: patch.state.is_transition().then_some(&progress),
    };
    if !patch.state.is_transition() {
        let text = format!(
            "{}: {}; no transition is going on.",
            patch.name,
            patch.state.word()
        );
        return Ok(Answer::new(Exit::Done, text, &why));
    }
    Ok(Answer::new(Exit::Done, text(&patch, &progress), &why))
}

fn text(patch: &Patch, progress: &Progress) -> String {
    let mut text = format!("{}: {}", patch.name, patch.state.word());
    if let Some(time) = progress.seconds {
        let _ = write!(text, " for {}", seconds(time));
    }
    let _ = write!(text, ", {}", left(progress));
    let counts = [
        (progress.attempts, "attempts"),
        (progress.signals, "rounds of signals"),
    ];
    for (count, what) in counts {
        if let Some(count) = count {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text.push('\n');
    for blocker in &progress.blockers {
        let (who, why, remedy) = (blocker.who(), blocker.why(), blocker.remedy());
        let _ = writeln!(text, "  {who}: {why}\n    -> {remedy}");
        for entry in &blocker.stack {
            let _ = writeln!(text, "       {entry}");
        }
    }
    if progress.more > 0 {
        let _ = writeln!(text, "  and {} more", progress.more);
    }
    if progress.source == "proc" {
        let idle = match progress.left {
            Some(0) => " Idle CPUs may be left; they are not in /proc.",
            _ => "",
        };
        let _ = writeln!(
            text,
            "From /proc: this kernel has no report in debugfs, or it is not mounted.{idle}"
        );
    }
    let name = &patch.name;
    let _ = write!(text, "next: klpctl wait {name}");
    if patch.state.is_on() {
        let _ = write!(text, "; klpctl unload {name} takes it back");
    }
    text
}
