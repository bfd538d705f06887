// SPDX-License-Identifier: GPL-2.0
//! `klpctl load`: loads a live patch, and waits for its transition.

use super::transition::{follow, seconds};
use super::{one_or_all, unload, Done};
use crate::cli::Patience;
use crate::failure::{describe, needs_rights, Exit, Failure, Result};
use crate::module::Module;
use crate::output::{Answer, Output};
use crate::system::installed::is_path;
use crate::system::log::{Log, LIVEPATCH};
use crate::system::patches::State;
use crate::system::{patch_name, System};
use rustix::io::Errno;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// The number of the kernel's messages that a refusal quotes.
const MESSAGES: usize = 6;

#[derive(Serialize)]
struct Loaded {
    patch: String,
    state: &'static str,
    already: bool,
    transition_seconds: Option<f64>,
}

/// Runs the command. Without a patch, it is for all that are installed for the running kernel.
pub fn run(
    system: &System,
    output: &Output,
    patch: Option<&str>,
    patience: Patience,
) -> Result<Answer> {
    system.check()?;
    let release = system.release();
    let path = match patch {
        Some(file) if is_path(file) => Some(PathBuf::from(file)),
        Some(name) => Some(system.find_installed(&patch_name(name)?, &release)?),
        None => None,
    };
    let none = format!("No live patch is installed for Linux {release}.");
    let all = || Ok(system.installed(&release));
    one_or_all(path, all, none, |path| {
        let loaded = one(system, output, path, patience);
        match (loaded, patch) {
            // One that fails does not keep the others from being loaded.
            (Err(failure), None) => Ok(failure.into()),
            (loaded, _) => loaded.map(|loaded| Done::new(loaded.sentence(), &loaded)),
        }
    })
}

impl Loaded {
    fn sentence(&self) -> String {
        let name = &self.patch;
        match (self.already, self.state, self.transition_seconds) {
            (true, "enabled", _) => {
                format!("{name}: it is loaded already, and every task uses it.")
            }
            (_, "patching", _) => format!(
                "{name}: it is loaded, and its transition goes on. Next: klpctl wait {name}"
            ),
            (_, _, Some(took)) => {
                format!(
                    "{name}: it is loaded, and every task uses it; {}.",
                    seconds(took)
                )
            }
            _ => format!("{name}: it is loaded."),
        }
    }
}

fn one(system: &System, output: &Output, path: &Path, patience: Patience) -> Result<Loaded> {
    let module = Module::read(path)?;
    module.check_kernel(system)?;
    let name = &module.origin.name;
    let already = is_there(system, output, &module)?;
    if !already {
        free(system, name)?;
        if output.interrupted() {
            let cause = format!("interrupted: {name} was not loaded");
            return Err(Failure::new(Exit::Interrupted, cause, "klpctl status"));
        }
        let mut log = system.log_from_now();
        if let Err(error) = module.load(system) {
            return Err(refused(system, name, &error, log.as_mut()));
        }
    }
    let mut loaded = Loaded {
        patch: name.clone(),
        state: "patching",
        already,
        transition_seconds: None,
    };
    if patience.timeout == 0 && system.state(name) == Some(State::Patching) {
        return Ok(loaded);
    }
    let took = follow(system, output, name, true, patience)?;
    loaded.state = "enabled";
    loaded.transition_seconds = Some(took.as_secs_f64());
    Ok(loaded)
}

/// Whether this very live patch is on already. Fails if another module has its name, or if it is on its way out.
fn is_there(system: &System, output: &Output, module: &Module) -> Result<bool> {
    let name = &module.origin.name;
    if !system.is_loaded(name) {
        return Ok(false);
    }
    let taken = |what: &str, next: String| {
        Err(Failure::new(
            Exit::Busy,
            format!("{}: {what}", module.path.display()),
            next,
        ))
    };
    if !system.is_live_patch(name) {
        return taken(
            &format!("a module `{name}` is loaded, which is no live patch"),
            format!("rmmod {name}"),
        );
    }
    match system.state(name) {
        Some(state) if state.is_on() => {
            let (own, theirs) = (&module.origin.build_id, system.module_build_id(name));
            if own.is_some() && theirs.is_some() && *own != theirs {
                return taken(
                    &format!("another build of `{name}` is loaded"),
                    format!("klpctl unload {name}, then run this again"),
                );
            }
            Ok(true)
        }
        Some(State::Unpatching) => taken(
            &format!("`{name}` is being taken back"),
            format!("klpctl unload {name}, then run this again"),
        ),
        // A live patch that was disabled can't be enabled again. It has to be loaded anew.
        _ => unload::remove_module(system, output, name).map(|()| false),
    }
}

/// Fails if another patch is in transition, for which the kernel would refuse this one.
fn free(system: &System, name: &str) -> Result<()> {
    match system.in_transition() {
        None => Ok(()),
        Some(other) => Err(busy(name, &other)),
    }
}

fn busy(name: &str, other: &str) -> Failure {
    Failure::new(
        Exit::Busy,
        format!("{name} was not loaded: the transition of {other} is going on"),
        format!("klpctl wait {other}, then run this again"),
    )
}

/// Returns the failure that the kernel did not load a module.
fn refused(system: &System, name: &str, error: &io::Error, log: Option<&mut Log>) -> Failure {
    let errno = Errno::from_io_error(error);
    let again = "see what the kernel's log says: dmesg | tail";
    let (exit, what, next) = match errno {
        Some(Errno::PERM | Errno::ACCESS) => (
            Exit::Forbidden,
            "no right to load modules".into(),
            needs_rights(),
        ),
        Some(Errno::BUSY) => match system.in_transition() {
            Some(other) => return busy(name, &other),
            None => (Exit::Refused, describe(error), again.into()),
        },
        Some(Errno::EXIST) => (
            Exit::Busy,
            "a module of that name is loaded, or being loaded".into(),
            "klpctl list".into(),
        ),
        Some(Errno::NOEXEC) => (
            Exit::BadFile,
            "the file is broken, or for another kernel".into(),
            "build it for exactly this kernel, or copy it again".into(),
        ),
        Some(Errno::NOENT) => (
            Exit::Refused,
            "it refers to a symbol that this kernel does not have".into(),
            "build it for exactly this kernel".into(),
        ),
        Some(Errno::KEYREJECTED | Errno::NOKEY | Errno::BADMSG) => (
            Exit::Refused,
            "its signature is missing, or its key is not trusted".into(),
            "sign it with a key that the kernel trusts".into(),
        ),
        None => (
            Exit::BadFile,
            describe(error),
            "klpctl status, then run this again".into(),
        ),
        Some(_) => (Exit::Refused, describe(error), again.into()),
    };
    let mut cause = format!("the kernel did not load {name}: {what}");
    let messages = log.map(Log::read).unwrap_or_default();
    let own = |text: &str| text.starts_with(LIVEPATCH) || text.contains(name);
    let told = messages.iter().filter(|message| own(&message.text));
    for message in told.take(MESSAGES) {
        cause.push_str("\n  kernel: ");
        cause.push_str(&message.text);
    }
    Failure::new(exit, cause, next)
}
