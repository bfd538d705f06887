// SPDX-License-Identifier: GPL-2.0
//! The live patches in `/sys/kernel/livepatch`.

use super::{entries, no_patch, System};
use crate::failure::{Failure, Result};
use rustix::fs::{openat, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::File;
use std::io;

/// Where the live patches are.
pub const DIRECTORY: &str = "sys/kernel/livepatch";

/// What a live patch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Tasks are moving over to it.
    Patching,
    /// Tasks are moving back.
    Unpatching,
    /// Every task uses it.
    Enabled,
    /// No task uses it. Its directory is about to go.
    Disabled,
    /// Its module is loaded, and it has no directory.
    Unused,
}

impl State {
    /// Returns it as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Patching => "patching",
            Self::Unpatching => "unpatching",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Unused => "unused",
        }
    }

    /// Whether tasks are moving.
    pub fn is_transition(self) -> bool {
        matches!(self, Self::Patching | Self::Unpatching)
    }

    /// Whether the patch is, or will be, in effect.
    pub fn is_on(self) -> bool {
        matches!(self, Self::Patching | Self::Enabled)
    }
}

/// A live patch in sysfs.
#[derive(Clone, Debug, Serialize)]
pub struct Patch {
    /// The name, which is its module's too.
    pub name: String,
    /// What it does.
    pub state: State,
    /// Whether it replaces all others. Older kernels do not say.
    pub replace: Option<bool>,
    /// Its place among the patches; the highest is called. Older kernels do not say.
    pub stack_order: Option<u32>,
    /// How calls get to its functions, which only the Rust core says.
    pub gear: Option<String>,
    /// How long its transition may take, which only the Rust core says.
    pub deadline: Option<String>,
    /// What it patches.
    pub objects: Vec<Object>,
}

/// A module, or the kernel itself, of which a live patch replaces functions.
#[derive(Clone, Debug, Serialize)]
pub struct Object {
    /// The module's name, or `vmlinux`.
    pub name: String,
    /// Whether it is patched: a module may not be loaded. Older kernels do not say.
    pub patched: Option<bool>,
    /// The functions.
    pub functions: Vec<String>,
}

impl System {
    /// Returns what a live patch does, or `None` if it has no directory.
    pub fn state(&self, name: &str) -> Option<State> {
        let flag = |attribute: &str| {
            let text = self.text(format!("{DIRECTORY}/{name}/{attribute}"))?;
            Some(text != "0")
        };
        // The transition is read first. If it ends in between, `enabled` has its outcome already.
        let transition = flag("transition")?;
        Some(match (transition, flag("enabled")?) {
            (true, true) => State::Patching,
            (true, false) => State::Unpatching,
            (false, true) => State::Enabled,
            (false, false) => State::Disabled,
        })
    }

    /// Returns a live patch, or `None` if it has no directory.
    pub fn patch(&self, name: &str) -> Option<Patch> {
        let attribute = |attribute: &str| self.text(format!("{DIRECTORY}/{name}/{attribute}"));
        let directory = self.path(DIRECTORY).join(name);
        let objects = entries(&directory).into_iter().filter_map(|object| {
            let path = directory.join(&object);
            path.is_dir().then(|| Object {
                patched: attribute(&format!("{object}/patched")).map(|text| text != "0"),
                functions: entries(&path)
                    .into_iter()
                    .filter(|function| path.join(function).is_dir())
                    .collect(),
                name: object,
            })
        });
        Some(Patch {
            name: name.to_owned(),
            state: self.state(name)?,
            replace: attribute("replace").map(|text| text != "0"),
            stack_order: attribute("stack_order").and_then(|text| text.parse().ok()),
            gear: attribute("gear"),
            deadline: attribute("deadline"),
            objects: objects.collect(),
        })
    }

    /// Returns all live patches, in the order of the stack if the kernel says it.
    pub fn patches(&self) -> Result<Vec<Patch>> {
        self.check()?;
        let names = entries(&self.path(DIRECTORY));
        let mut patches: Vec<_> = names.iter().filter_map(|name| self.patch(name)).collect();
        patches.sort_by_key(|patch| patch.stack_order);
        Ok(patches)
    }

    /// Returns the live patch in transition, of which there is at most one.
    pub fn in_transition(&self) -> Option<String> {
        let names = entries(&self.path(DIRECTORY)).into_iter();
        let moving = |name: &String| self.state(name).is_some_and(State::is_transition);
        names.into_iter().find(moving)
    }

    /// Opens an attribute of a live patch. The file stays that patch's: it can't be read or written
    /// any more when the patch is gone, even if another one has its name by then.
    pub fn attribute(&self, patch: &str, attribute: &str) -> Result<Attribute> {
        let path = self.path(DIRECTORY).join(patch).join(attribute);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(rustix::fs::CWD, &path, flags, Mode::empty()) {
            Ok(file) => Ok(Attribute(file.into())),
            Err(Errno::NOENT) => Err(no_patch(patch)),
            Err(error) => Err(Failure::of_system(
                format!("cannot write {}", path.display()),
                &error.into(),
            )),
        }
    }
}

/// An open attribute.
pub struct Attribute(File);

impl Attribute {
    /// Writes a value.
    pub fn write(&self, value: &str) -> io::Result<()> {
        io::Write::write_all(&mut &self.0, value.as_bytes())
    }
}
