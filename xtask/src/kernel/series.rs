// SPDX-License-Identifier: GPL-2.0
//! The patch series for files that the kernel tree already has.

use anyhow::{bail, Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use xshell::{cmd, Shell};

/// A patch of the series.
#[derive(Debug)]
pub struct Patch {
    /// The file it is in.
    pub path: PathBuf,
    /// The files that it touches.
    pub files: BTreeSet<PathBuf>,
    text: String,
}

/// Reads the patches in a directory, in the order of their names.
pub fn read(dir: &Path) -> Result<Vec<Patch>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(Vec::new());
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "patch")
    });
    paths.sort();
    paths.into_iter().map(Patch::read).collect()
}

impl Patch {
    fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the patch {}", path.display()))?;
        let names = text.lines().filter_map(file_names);
        let files: BTreeSet<_> = names.flat_map(|(a, b)| [a.into(), b.into()]).collect();
        if files.is_empty() {
            bail!(
                "{} touches no file: write it with `git format-patch`",
                path.display()
            );
        }
        Ok(Self { path, files, text })
    }

    /// Applies the patch to the files below `dir`. The context must match exactly, because changed
    /// context may mean something.
    pub fn apply(&self, dir: &Path) -> Result<()> {
        let output = self.git_apply(dir, &[])?;
        if output.status.success() {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if self
            .git_apply(dir, &["--reverse", "--check"])?
            .status
            .success()
        {
            bail!("the patch {name} is in this tree already\nnext: give a tree without the series");
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let failed = said.lines().find_map(failed_hunk);
        let hunk = failed.and_then(|(file, line)| self.hunk(file, line));
        bail!(
            "the patch {name} does not apply\n{}{}\n\
             next: mend {} for this version, or use a version that it is for",
            said.trim_end(),
            hunk.map_or(String::new(), |hunk| format!("\nthe hunk is\n{hunk}")),
            self.path.display()
        )
    }

    fn git_apply(&self, dir: &Path, options: &[&str]) -> Result<Output> {
        let sh = Shell::new()?;
        sh.change_dir(dir);
        let path = &self.path;
        cmd!(sh, "git apply --whitespace=nowarn {options...} {path}")
            // Inside a git work tree, git would look for the files from the top of that tree.
            .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env("LC_ALL", "C")
            .quiet()
            .ignore_status()
            .output()
            .context("cannot run git")
    }

    /// Returns the hunk of a file that starts at this line of the original.
    fn hunk(&self, file: &str, line: &str) -> Option<String> {
        let mut lines = self.text.lines();
        lines.find(|text| file_names(text).is_some_and(|(a, b)| a == file || b == file))?;
        let mut lines = lines.take_while(|text| file_names(text).is_none());
        let starts = [format!("@@ -{line},"), format!("@@ -{line} ")];
        let head = lines.find(|text| starts.iter().any(|start| text.starts_with(start)))?;
        let body = lines.take_while(|text| text.starts_with(['+', '-', ' ']) && *text != "-- ");
        let text: Vec<String> = std::iter::once(head)
            .chain(body)
            .map(|text| format!("  | {text}"))
            .collect();
        Some(text.join("\n"))
    }
}

/// Returns the two names in the line that starts a file's part of a patch.
fn file_names(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("diff --git a/")?.split_once(" b/")
}

/// Returns file and line of a hunk that `git apply` reports as failed.
fn failed_hunk(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("error: patch failed: ")?.rsplit_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0002-b.patch", "0001-a.patch", "README"] {
            fs::write(dir.path().join(name), "diff --git a/x b/x\n").unwrap();
        }
        let series = read(dir.path()).unwrap();
        let names: Vec<_> = series
            .iter()
            .map(|patch| patch.path.file_name().unwrap())
            .collect();
        assert_eq!(names, ["0001-a.patch", "0002-b.patch"]);
    }

    #[test]
    fn no_series_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_patch_that_touches_nothing_is_no_patch() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0001.patch"), "Subject: nothing\n").unwrap();
        assert!(read(dir.path()).is_err());
    }
}
