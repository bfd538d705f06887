// SPDX-License-Identifier: GPL-2.0
//! The live patches that are kept for each kernel, below `/var/lib/klpctl/<release>`.
//!
//! The file `modules.livepatch` there lists them in the order in which a boot loads them. Each line has a
//! number, which the module gives (`klp_order`), and the name of a file. The list is made anew with each
//! `install` and `uninstall`. A file that it does not list comes last.

use super::{entries, no_patch, System};
use crate::failure::{Exit, Failure, Result};
use crate::module::Module;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where they are.
const DIRECTORY: &str = "var/lib/klpctl";

/// The list of them.
const INDEX: &str = "modules.livepatch";

/// How the names of modules end.
const ENDINGS: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// Returns the name of the module in a file of that name.
fn stem(file: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| file.strip_suffix(ending))
}

/// Whether a word on the command line means a file, and not the name of a live patch.
pub fn is_path(word: &str) -> bool {
    word.contains('/') || stem(word).is_some()
}

/// Returns the names of the modules in a directory, sorted.
fn modules(directory: &Path) -> Vec<String> {
    let mut names = entries(directory);
    names.retain(|name| stem(name).is_some());
    names
}

/// Returns the names that the list of a directory has.
fn listed(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join(INDEX)).unwrap_or_default();
    let names = text
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1));
    let names = names.filter(|name| stem(name).is_some() && !name.contains('/'));
    names.map(str::to_owned).collect()
}

/// Makes the list of a directory anew.
fn list(directory: &Path) -> io::Result<()> {
    let order = |name: &str| Module::read(&directory.join(name)).ok()?.origin.order;
    let named = modules(directory).into_iter();
    let mut all: Vec<_> = named
        .map(|name| (order(&name).unwrap_or_default(), name))
        .collect();
    all.sort();
    let lines = all.iter().map(|(order, name)| format!("{order} {name}\n"));
    place(directory, INDEX, lines.collect::<String>().as_bytes())
}

impl System {
    fn kept(&self, release: &str) -> PathBuf {
        self.path(DIRECTORY).join(release)
    }

    /// Returns the files that are kept for a kernel, in the order in which a boot loads them. One that
    /// is listed may be gone.
    pub fn installed(&self, release: &str) -> Vec<PathBuf> {
        let directory = self.kept(release);
        let listed = listed(&directory);
        let mut others = modules(&directory);
        others.retain(|name| !listed.contains(name));
        let names = listed.iter().chain(&others);
        names.map(|name| directory.join(name)).collect()
    }

    /// Returns the file of a live patch that is kept for a kernel.
    pub fn find_installed(&self, name: &str, release: &str) -> Result<PathBuf> {
        let is_it = |path: &PathBuf| {
            let file = path.file_name().and_then(OsStr::to_str);
            // Whoever has copied it there may have written the name with dashes.
            let stem = file.and_then(stem).map(|stem| stem.replace('-', "_"));
            stem.is_some_and(|stem| stem == name)
        };
        let found = self.installed(release).into_iter().find(is_it);
        found.ok_or_else(|| {
            let cause = format!("no live patch `{name}` is installed for Linux {release}");
            Failure::new(Exit::NoPatch, cause, "klpctl list, or name a file")
        })
    }

    /// Keeps a module. Either all of its file is in place afterwards, or nothing has changed.
    pub fn install(&self, module: &Module) -> Result<PathBuf> {
        let release = &module.origin.kernel;
        if release.contains('/') || release.starts_with('.') {
            return Err(no_patch(release));
        }
        let directory = self.kept(release);
        let source = module
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let ending = ENDINGS
            .iter()
            .rev()
            .find(|ending| source.ends_with(**ending));
        let name = format!("{}{}", module.origin.name, ending.unwrap_or(&".ko"));
        let path = directory.join(&name);
        let cannot = |error: io::Error| {
            Failure::of_system(format_args!("cannot install {}", path.display()), &error)
        };
        fs::create_dir_all(&directory).map_err(cannot)?;
        place(&directory, &name, &module.bytes).map_err(cannot)?;
        // The same patch may have been kept in another form.
        for ending in ENDINGS {
            let other = directory.join(format!("{}{ending}", module.origin.name));
            if other != path && other.exists() {
                fs::remove_file(other).map_err(cannot)?;
            }
        }
        list(&directory).map_err(cannot)?;
        Ok(path)
    }

    /// Keeps a live patch no longer. Returns the file that it was in.
    pub fn uninstall(&self, name: &str, release: &str) -> Result<PathBuf> {
        let path = self.find_installed(name, release)?;
        let directory = self.kept(release);
        let removed = match fs::remove_file(&path) {
            // It is listed, but gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let listed = removed.and_then(|()| match modules(&directory).is_empty() {
            true => fs::remove_file(directory.join(INDEX)).or(Ok(())),
            false => list(&directory),
        });
        listed.map_err(|error| {
            Failure::of_system(format_args!("cannot remove {}", path.display()), &error)
        })?;
        // Other patches may be kept there, so the directory may stay.
        let _ = fs::remove_dir(&directory);
        Ok(path)
    }
}

/// Puts a file into a directory: either all of it is in place afterwards, or nothing has changed.
fn place(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let partial = directory.join(format!(".partial-{}", std::process::id()));
    let placed = write(&partial, bytes).and_then(|()| fs::rename(&partial, directory.join(name)));
    if placed.is_err() {
        let _ = fs::remove_file(&partial);
    }
    // The name lasts once the directory is on the disk too.
    placed.and_then(|()| File::open(directory)?.sync_all())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
