// SPDX-License-Identifier: GPL-2.0
//! `klpctl status`: how it stands, on one screen, and what to do next.

use super::transition::{seconds, STALLED};
use crate::failure::{Exit, Result};
use crate::output::{first_blockers, left, Answer};
use crate::system::log::{Message, LIVEPATCH};
use crate::system::patches::{Patch, State};
use crate::system::report::Progress;
use crate::system::System;
use serde::Serialize;

#[derive(Serialize)]
struct Status<'a> {
    kernel: &'a str,
    core: Option<&'static str>,
    summary: &'a str,
    next: &'a str,
    enabled: Vec<&'a str>,
    unused: &'a [String],
    installed: usize,
    transition: Option<Moving<'a>>,
    last_problem: Option<&'a str>,
}

#[derive(Serialize)]
struct Moving<'a> {
    patch: &'a str,
    state: &'a str,
    stalled: bool,
    progress: &'a Progress,
}

/// Runs the command.
pub fn run(system: &System) -> Result<Answer> {
    let patches = system.patches()?;
    let release = system.release();
    let enabled: Vec<_> = patches
        .iter()
        .filter(|patch| patch.state == State::Enabled)
        .map(|patch| patch.name.as_str())
        .collect();
    let mut unused = system.live_patch_modules();
    unused.retain(|module| !patches.iter().any(|patch| patch.name == *module));
    let installed = system.installed(&release).len();
    let moving = patches.iter().find(|patch| patch.state.is_transition());
    let progress = moving.map(|patch| system.progress(patch));
    let problem = last_problem(system);
    let (exit, summary, next) = match (moving, &progress) {
        (Some(patch), Some(progress)) => in_transition(patch, progress),
        _ => at_rest(&enabled, &unused, installed, problem.is_some()),
    };
    let core = system.has_rust_core().then_some("rust");
    let mut text = summary.clone();
    if moving.is_some() && !enabled.is_empty() {
        text.push_str(&format!("\nEnabled besides: {}.", enabled.join(", ")));
    }
    if let Some(problem) = &problem {
        let age = system.uptime().map_or(0.0, |now| now - problem.at);
        let line = problem.text.trim_start_matches(LIVEPATCH);
        text.push_str(&format!(
            "\nThe core's last problem, {} ago: {line}",
            seconds(age)
        ));
    }
    text.push_str(&format!("\nnext: {next}"));
    let status = Status {
        kernel: &release,
        core,
        summary: &summary,
        next: &next,
        enabled,
        unused: &unused,
        installed,
        transition: moving
            .zip(progress.as_ref())
            .map(|(patch, progress)| Moving {
                patch: &patch.name,
                state: patch.state.word(),
                stalled: exit == Exit::Stalled,
                progress,
            }),
        last_problem: problem.as_ref().map(|problem| problem.text.as_str()),
    };
    Ok(Answer::new(exit, text, &status))
}

fn in_transition(patch: &Patch, progress: &Progress) -> (Exit, String, String) {
    let name = &patch.name;
    let time = progress
        .seconds
        .map_or_else(String::new, |time| format!(" for {}", seconds(time)));
    let stalled = progress.seconds.is_some_and(|time| time > STALLED);
    let summary = format!(
        "{name}: {}{time}, {}{}.",
        patch.state.word(),
        left(progress),
        first_blockers(progress)
    );
    let back = match patch.state.is_on() {
        true => format!("; klpctl unload {name} takes it back"),
        false => String::new(),
    };
    match stalled {
        true => (
            Exit::Stalled,
            format!("Stalled. {summary}"),
            format!("klpctl why {name}, and move those tasks{back}"),
        ),
        false => (
            Exit::Transition,
            summary,
            format!("klpctl wait {name}{back}"),
        ),
    }
}

fn at_rest(
    enabled: &[&str],
    unused: &[String],
    installed: usize,
    problem: bool,
) -> (Exit, String, String) {
    let mut summary = match enabled {
        [] => "No live patch is enabled.".into(),
        [one] => format!("1 live patch is enabled: {one}."),
        many => format!(
            "{} live patches are enabled: {}.",
            many.len(),
            many.join(", ")
        ),
    };
    if !unused.is_empty() {
        summary.push_str(&format!(" Loaded, but not in use: {}.", unused.join(", ")));
    }
    let next = if let Some(unused) = unused.first() {
        format!("klpctl unload {unused} frees its memory; nothing else needs to be done")
    } else if problem && enabled.is_empty() {
        "klpctl history; klpctl info FILE shows for which kernel a live patch is".into()
    } else if enabled.is_empty() && installed > 0 {
        format!("klpctl load --all loads what is installed ({installed})")
    } else if enabled.is_empty() {
        "klpctl load FILE.ko loads a live patch".into()
    } else {
        "nothing to do; klpctl list shows more".into()
    };
    (Exit::Done, summary, next)
}

/// Returns the last error or warning of the core, if nothing has succeeded since.
fn last_problem(system: &System) -> Option<Message> {
    let messages = system.log().ok()?.read();
    let mut own = messages
        .into_iter()
        .filter(|own| own.text.starts_with(LIVEPATCH));
    let mut last = None;
    own.by_ref().for_each(|message| {
        if message.level <= 4 {
            last = Some(message);
        } else if message.text.ends_with("patching complete") {
            last = None;
        }
    });
    last
}
