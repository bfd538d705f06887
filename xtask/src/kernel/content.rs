// SPDX-License-Identifier: GPL-2.0
//! The files of a tree: their content, whether they are executable, and writing only what differs.

use crate::tools::need::is_executable;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use steps::place;

/// The wanted content of each file, or `None` for a file that should not exist. Names are relative
/// to the top of the tree.
pub type Files = BTreeMap<PathBuf, Option<Content>>;

/// A file's bytes, and whether it is executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether it is executable.
    pub executable: bool,
}

impl Content {
    /// Returns the content of a file, or `None` if there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let executable = is_executable(path);
        let bytes = place::read(path)?;
        Ok(bytes.map(|bytes| Self { bytes, executable }))
    }
}

/// Gives the file `name` below `top` its wanted content. Returns whether the file changed.
pub fn put(top: &Path, name: &Path, want: Option<&Content>) -> Result<bool> {
    let path = top.join(name);
    if Content::read(&path)?.as_ref() == want {
        return Ok(false);
    }
    let dir = path.parent().context("a file is in a directory")?;
    let Some(want) = want else {
        place::remove(&path)?;
        // Also remove the directories that were made for the file, up to the first that is not
        // empty.
        for dir in dir.ancestors().take_while(|dir| *dir != top) {
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
        return Ok(true);
    };
    fs::create_dir_all(dir)?;
    fs::write(&path, &want.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let mode = if want.executable { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(true)
}
