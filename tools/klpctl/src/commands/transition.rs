// SPDX-License-Identifier: GPL-2.0
//! Follows a transition to its end. `load`, `unload` and `wait` share it.

use crate::cli::Patience;
use crate::failure::{Exit, Failure, Result};
use crate::output::{first_blockers, left, Output};
use crate::system::log::LIVEPATCH;
use crate::system::patches::{Patch, State};
use crate::system::report::Progress;
use crate::system::System;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The pause between two looks. What is read is two small files.
const PAUSE: Duration = Duration::from_millis(5);

/// After so many seconds a transition is stalled, in `status`.
pub const STALLED: f64 = 60.0;

impl System {
    /// Returns how far the transition of a patch is: from the core, or else from the tasks.
    pub fn progress(&self, patch: &Patch) -> Progress {
        let mut progress = match self.report(&patch.name) {
            Some(progress) => progress,
            None => self.progress_from_tasks(patch),
        };
        if progress.seconds.is_none() {
            progress.seconds = self.seconds_by_log(&patch.name);
        }
        progress
    }

    /// Returns for how long a transition has been going on, by the kernel's log.
    fn seconds_by_log(&self, name: &str) -> Option<f64> {
        let begins = format!("{LIVEPATCH}'{name}': starting ");
        let messages = self.log().ok()?.read();
        let start = messages.iter().rfind(|own| own.text.starts_with(&begins))?;
        Some((self.uptime()? - start.at).max(0.0))
    }
}

/// Waits for the transition of a patch to end in the direction of `on`. Returns how long it took from now.
///
/// Fails if the patience is over, if somebody turns the transition round, or on a signal.
pub fn follow(
    system: &System,
    output: &Output,
    name: &str,
    on: bool,
    patience: Patience,
) -> Result<Duration> {
    let start = Instant::now();
    let patience = Duration::from_secs(patience.timeout.into());
    let mut waiting = output.wait();
    loop {
        match (system.state(name), on) {
            (None, false) | (Some(State::Disabled), false) | (Some(State::Enabled), true) => {
                return Ok(start.elapsed())
            }
            (None, true) => {
                return Err(reversed(name, "it is gone: it was taken back or replaced"))
            }
            (Some(state), on) if state.is_on() != on => {
                let cause = format!("it is {} now", state.word());
                return Err(reversed(name, &cause));
            }
            (Some(_), _) => {}
        }
        if output.interrupted() {
            let failure = going_on(system, name, Exit::Interrupted, "interrupted");
            return Err(failure);
        }
        if start.elapsed() >= patience {
            let after = format!("after {} s", patience.as_secs());
            return Err(going_on(system, name, Exit::Transition, &after));
        }
        if waiting.is_due() {
            if let Some(patch) = system.patch(name) {
                waiting.show(name, patch.state.word(), &system.progress(&patch));
            }
        }
        sleep(PAUSE);
    }
}

fn reversed(name: &str, cause: &str) -> Failure {
    Failure::new(
        Exit::Reversed,
        format!("{name}: somebody else has changed it meanwhile; {cause}"),
        format!("klpctl history {name}"),
    )
}

/// Returns the failure that a transition is not over.
fn going_on(system: &System, name: &str, exit: Exit, why: &str) -> Failure {
    let Some(patch) = system.patch(name) else {
        return Failure::new(exit, format!("{why}: {name} is gone"), "klpctl status");
    };
    let progress = system.progress(&patch);
    let cause = format!(
        "{why}: {name} is still {}, and goes on; {}{}",
        patch.state.word(),
        left(&progress),
        first_blockers(&progress)
    );
    let turn = match patch.state.is_on() {
        true => format!("klpctl unload {name} takes it back"),
        false => format!("klpctl unload {name} waits again"),
    };
    Failure::new(
        exit,
        cause,
        format!("klpctl why {name}; klpctl wait {name}; {turn}"),
    )
}

/// Returns the patch that a command is about: the one that is named, or else the one in transition.
pub fn chosen(system: &System, name: Option<&str>) -> Result<Option<Patch>> {
    system.check()?;
    let Some(name) = name else {
        let name = system.in_transition();
        return Ok(name.and_then(|name| system.patch(&name)));
    };
    let name = crate::system::patch_name(name)?;
    let patch = system.patch(&name);
    patch
        .map(Some)
        .ok_or_else(|| crate::system::no_patch(&name))
}

/// Returns a time in seconds as text.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.2} s"),
        long if long < 120.0 => format!("{long:.0} s"),
        long => format!("{:.0} min", long / 60.0),
    }
}
