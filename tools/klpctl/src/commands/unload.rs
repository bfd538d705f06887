// SPDX-License-Identifier: GPL-2.0
//! `klpctl unload`: takes a live patch back, and unloads its module.

use super::transition::{follow, seconds};
use super::{one_or_all, Done};
use crate::cli::Patience;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Answer, Output};
use crate::system::patches::State;
use crate::system::{no_patch, patch_name, System};
use rustix::io::Errno;
use serde::Serialize;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the core may take to let go of the module, after the transition.
const LETTING_GO: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Serialize)]
struct Unloaded {
    patch: String,
    state: &'static str,
    transition_seconds: Option<f64>,
}

/// Runs the command.
pub fn run(
    system: &System,
    output: &Output,
    patch: Option<&str>,
    patience: Patience,
) -> Result<Answer> {
    system.check()?;
    let named = patch.map(patch_name).transpose()?;
    let none = "No live patch is loaded.".into();
    let all = || all(system);
    one_or_all(named, all, none, |name| {
        let unloaded = one(system, output, name, patience)?;
        let text = match unloaded.transition_seconds {
            None if patience.timeout == 0 && system.state(name).is_some() => {
                format!("{name}: it is being taken back. Next: klpctl unload {name}")
            }
            None => format!("{name}: its module is unloaded."),
            Some(took) => format!(
                "{name}: no task uses it, and its module is unloaded; {}.",
                seconds(took)
            ),
        };
        Ok(Done::new(text, &unloaded))
    })
}

/// Returns all live patches, the newest first.
fn all(system: &System) -> Result<Vec<String>> {
    let patches = system.patches()?;
    let mut names: Vec<_> = patches.into_iter().rev().map(|patch| patch.name).collect();
    // The one in transition keeps the others from being disabled.
    if let Some(moving) = system.in_transition() {
        names.retain(|name| *name != moving);
        names.insert(0, moving);
    }
    for module in system.live_patch_modules() {
        if !names.contains(&module) {
            names.push(module);
        }
    }
    Ok(names)
}

fn one(system: &System, output: &Output, name: &str, patience: Patience) -> Result<Unloaded> {
    let mut unloaded = Unloaded {
        patch: name.to_owned(),
        state: "unloaded",
        transition_seconds: None,
    };
    if output.interrupted() {
        let cause = format!("interrupted: {name} was left as it is");
        return Err(Failure::new(Exit::Interrupted, cause, "klpctl status"));
    }
    match system.state(name) {
        None if !system.is_live_patch(name) => return Err(no_patch(name)),
        None => {}
        Some(state) => {
            if state.is_on() {
                disable(system, name)?;
            }
            if patience.timeout == 0 {
                unloaded.state = "unpatching";
                return Ok(unloaded);
            }
            let took = follow(system, output, name, false, patience)?;
            unloaded.transition_seconds = Some(took.as_secs_f64());
        }
    }
    remove_module(system, output, name)?;
    Ok(unloaded)
}

fn disable(system: &System, name: &str) -> Result<()> {
    let Err(error) = system.attribute(name, "enabled")?.write("0") else {
        return Ok(());
    };
    match (Errno::from_io_error(&error), system.in_transition()) {
        (Some(Errno::BUSY), Some(other)) => Err(Failure::new(
            Exit::Busy,
            format!("{name} was not disabled: the transition of {other} is going on"),
            format!("klpctl wait {other}, then run this again"),
        )),
        // Somebody else has disabled it meanwhile.
        (Some(Errno::INVAL | Errno::NODEV), _) if !is_on(system, name) => Ok(()),
        (Some(Errno::INVAL), _) => Err(Failure::new(
            Exit::Refused,
            format!("the kernel does not disable {name}: it may have been forced, or be in use"),
            "see what the kernel's log says: dmesg | tail",
        )),
        _ => Err(Failure::of_system(
            format_args!("cannot disable {name}"),
            &error,
        )),
    }
}

fn is_on(system: &System, name: &str) -> bool {
    system.state(name).is_some_and(State::is_on)
}

/// Unloads the module of a live patch that is off. The core lets go of it a moment later.
pub fn remove_module(system: &System, output: &Output, name: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        // Without users, and without its directory: the core is done with it.
        let ready = system.state(name).is_none() && system.users(name) == Some(0);
        let result = match ready {
            true => system.modules.unload(name),
            false => Err(Errno::AGAIN.into()),
        };
        let Err(error) = result else {
            return Ok(());
        };
        let left = format!("{name} is disabled, but its module is still loaded");
        match Errno::from_io_error(&error) {
            _ if !system.is_loaded(name) => return Ok(()),
            Some(Errno::AGAIN | Errno::BUSY) if start.elapsed() < LETTING_GO => {}
            Some(Errno::AGAIN | Errno::BUSY) => {
                let users = system.users(name).unwrap_or_default();
                return Err(Failure::new(
                    Exit::Refused,
                    format!("{left}: {users} users; one that was forced stays until the next boot"),
                    "it does no harm; lsmod shows who uses it",
                ));
            }
            _ => return Err(Failure::of_system(left, &error)),
        }
        if output.interrupted() {
            let next = format!("klpctl unload {name}");
            return Err(Failure::new(
                Exit::Interrupted,
                format!("interrupted: {left}"),
                next,
            ));
        }
        sleep(PAUSE);
    }
}
