// SPDX-License-Identifier: GPL-2.0
//! The system: its files, below a root directory, and the system calls for modules.
//!
//! Tests make up the directory and the system calls. All of it is read anew at each call: the
//! system changes while the program looks at it.

pub mod installed;
pub mod log;
pub mod patches;
pub mod report;
pub mod tasks;

use crate::failure::{Exit, Failure, Result};
use rustix::fs::OFlags;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The system calls that load and unload modules.
pub trait Modules {
    /// Loads the module in an open file.
    fn load_file(&self, file: &File) -> io::Result<()>;
    /// Loads the module with this content.
    fn load_bytes(&self, module: &[u8]) -> io::Result<()>;
    /// Unloads a module that nobody uses.
    fn unload(&self, name: &str) -> io::Result<()>;
}

/// The running kernel's.
struct RunningKernel;

impl Modules for RunningKernel {
    fn load_file(&self, file: &File) -> io::Result<()> {
        Ok(rustix::system::finit_module(file, c"", 0)?)
    }

    fn load_bytes(&self, module: &[u8]) -> io::Result<()> {
        Ok(rustix::system::init_module(module, c"")?)
    }

    fn unload(&self, name: &str) -> io::Result<()> {
        let name = CString::new(name)?;
        let flags = OFlags::NONBLOCK.bits() as _;
        Ok(rustix::system::delete_module(&name, flags)?)
    }
}

/// A system.
pub struct System {
    root: PathBuf,
    /// Loads and unloads modules.
    pub modules: Box<dyn Modules>,
}

impl System {
    /// Returns the machine that the program runs on.
    pub fn of_machine() -> Self {
        Self::at("/", Box::new(RunningKernel))
    }

    /// Returns a system with its files below `root`.
    pub fn at(root: impl Into<PathBuf>, modules: Box<dyn Modules>) -> Self {
        Self {
            root: root.into(),
            modules,
        }
    }

    /// Returns where a file is. `path` has no leading slash.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the trimmed text of a file, or `None` if it can't be read.
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Returns the release of the running kernel, as `uname -r` prints it.
    pub fn release(&self) -> String {
        self.text("proc/sys/kernel/osrelease").unwrap_or_default()
    }

    /// Returns the build ID of the running kernel in hexadecimal digits, if it has one.
    pub fn build_id(&self) -> Option<String> {
        note_build_id(&fs::read(self.path("sys/kernel/notes")).ok()?)
    }

    /// Whether the kernel's command line has this word.
    pub fn booted_with(&self, word: &str) -> bool {
        let line = self.text("proc/cmdline").unwrap_or_default();
        line.split_whitespace().any(|own| own == word)
    }

    /// Returns the time since the boot in seconds.
    pub fn uptime(&self) -> Option<f64> {
        let text = self.text("proc/uptime")?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// Fails if the kernel has no live patching, or does not show it.
    pub fn check(&self) -> Result<()> {
        if self.path(patches::DIRECTORY).is_dir() {
            return Ok(());
        }
        let (cause, next) = match self.path("sys/kernel").is_dir() {
            true => (
                format!("this kernel ({}) has no live patching", self.release()),
                "boot a kernel with CONFIG_LIVEPATCH=y",
            ),
            false => (
                "sysfs is not mounted on /sys".into(),
                "mount -t sysfs sys /sys",
            ),
        };
        Err(Failure::new(Exit::NoLivePatching, cause, next))
    }

    /// Whether the running core shows itself as the one in Rust.
    pub fn has_rust_core(&self) -> bool {
        let patches = self.patches().unwrap_or_default();
        let extra = |patch: &patches::Patch| patch.gear.is_some() || patch.deadline.is_some();
        self.path(report::DIRECTORY).is_dir() || patches.iter().any(extra)
    }

    /// Whether a module is loaded.
    pub fn is_loaded(&self, module: &str) -> bool {
        self.path("sys/module").join(module).join("refcnt").exists()
    }

    /// Whether a loaded module is a live patch.
    pub fn is_live_patch(&self, module: &str) -> bool {
        let taint = self.text(format!("sys/module/{module}/taint"));
        taint.is_some_and(|taint| taint.contains('K'))
    }

    /// Returns the number of users of a module.
    pub fn users(&self, module: &str) -> Option<u32> {
        let text = self.text(format!("sys/module/{module}/refcnt"))?;
        text.parse().ok()
    }

    /// Returns the build ID of a loaded module.
    pub fn module_build_id(&self, module: &str) -> Option<String> {
        let path = format!("sys/module/{module}/notes/.note.gnu.build-id");
        note_build_id(&fs::read(self.path(path)).ok()?)
    }

    /// Returns the names of the loaded modules that are live patches, sorted.
    pub fn live_patch_modules(&self) -> Vec<String> {
        let mut names: Vec<_> = entries(&self.path("sys/module"));
        names.retain(|name| self.is_live_patch(name));
        names
    }
}

/// Returns the names in a directory, sorted. A directory that can't be read is empty.
fn entries(directory: &Path) -> Vec<String> {
    let Ok(list) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = list.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Returns the build ID in ELF notes of this machine, in hexadecimal digits.
pub fn note_build_id(notes: &[u8]) -> Option<String> {
    const GNU_BUILD_ID: u32 = 3;
    let mut rest = notes;
    loop {
        let (head, after) = rest.split_at_checked(12)?;
        let number = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (name, size, kind) = (number(0)? as usize, number(4)? as usize, number(8)?);
        let content = after.get(name.checked_next_multiple_of(4)?..)?;
        if kind == GNU_BUILD_ID && after.starts_with(b"GNU\0") {
            let id = content.get(..size)?;
            return Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        rest = content.get(size.checked_next_multiple_of(4)?..)?;
    }
}

/// Fails if a name can't be one of a live patch. Returns it as the kernel writes it.
pub fn patch_name(name: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(name.replace('-', "_"));
    }
    Err(no_patch(name))
}

/// Returns the failure that there is no such live patch.
pub fn no_patch(name: &str) -> Failure {
    Failure::new(
        Exit::NoPatch,
        format!("there is no live patch `{}`", name.escape_debug()),
        "klpctl list",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_found_among_other_notes() {
        let note = |kind: u32, name: &[u8], content: &[u8]| {
            let mut note = Vec::new();
            for number in [name.len() as u32, content.len() as u32, kind] {
                note.extend(number.to_ne_bytes());
            }
            for part in [name, content] {
                note.extend(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let other = note(7, b"Linux\0", b"12345");
        let notes = [other.clone(), note(3, b"GNU\0", &[0xab, 0x01])].concat();
        assert_eq!(note_build_id(&notes).as_deref(), Some("ab01"));
        assert_eq!(note_build_id(&notes[..notes.len() - 3]), None);
        assert_eq!(note_build_id(&other), None);
        assert_eq!(note_build_id(&[0xff; 12]), None);
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        assert_eq!(patch_name("a-b").unwrap(), "a_b");
        for bad in ["", "..", "a/b", "a b", "a\n"] {
            assert_eq!(patch_name(bad).unwrap_err().exit, Exit::NoPatch, "{bad:?}");
        }
    }
}
