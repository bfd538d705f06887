// SPDX-License-Identifier: GPL-2.0
//! The patch series: which change goes into the kernel tree in which patch, and why.
//!
//! `xtask/series/` has one directory for each stage, and one file for each patch in it:
//!
//! ```text
//! Subject: one line
//!
//! The message of the commit.
//! ---
//! place: kernel/livepatch/core/site.rs
//! diff --git a/kernel/livepatch/Kconfig b/kernel/livepatch/Kconfig
//! ...
//! ```
//!
//! A patch may place files of the checkout. The checkout has them as they are after the whole
//! series; where a later patch changes such a file, that patch has the hunks.

use crate::kernel::source::WITHOUT_SERIES;
use crate::tools::context::Context;
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use steps::git;

/// The stages, in the order in which they are applied.
const STAGES: &[&str] = &["fixes", "core", "settled", "api", "tracing", "ports"];

/// The file of a stage with its cover letter: the subject, an empty line, the text.
const COVER: &str = "cover.txt";

/// Marks a file that a patch places.
const PLACE: &str = "place: ";

/// Patches that are sent together.
#[derive(Debug)]
pub struct Stage {
    /// The name of the stage, and of its directory.
    pub name: &'static str,
    /// The cover letter.
    pub cover: String,
    /// The patches, in order.
    pub patches: Vec<Patch>,
}

/// A patch of the series.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The file it is in.
    pub path: PathBuf,
    /// The first line of the commit message.
    pub subject: String,
    /// The rest of the commit message.
    pub body: String,
    /// The files of the checkout that it places, by their names in the kernel tree.
    pub places: Vec<PathBuf>,
    /// The files that its hunks touch.
    pub files: BTreeSet<PathBuf>,
    /// The hunks.
    pub diff: String,
}

/// Reads the series of the checkout.
pub fn of_checkout(cx: &Context) -> Result<Vec<Stage>> {
    read(&cx.root.join("xtask/series"))
}

/// Reads the series in a directory.
fn read(dir: &Path) -> Result<Vec<Stage>> {
    STAGES.iter().map(|name| stage(dir, name)).collect()
}

/// Returns the patches of all stages, in order.
pub fn patches(series: &[Stage]) -> Vec<&Patch> {
    series.iter().flat_map(|stage| &stage.patches).collect()
}

fn stage(dir: &Path, name: &'static str) -> Result<Stage> {
    let dir = dir.join(name);
    let paths = match dir.exists() {
        true => in_order(&dir)?,
        false => Vec::new(),
    };
    let patches = paths.into_iter().map(Patch::read);
    Ok(Stage {
        name,
        cover: fs::read_to_string(dir.join(COVER)).unwrap_or_default(),
        patches: patches.collect::<Result<_>>()?,
    })
}

/// Returns the patches in a directory, in the order of their names.
pub fn in_order(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|found| found == "patch"));
    paths.sort();
    Ok(paths)
}

impl Patch {
    fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the patch {}", path.display()))?;
        Self::parse(&path, &text).with_context(|| format!("{} is no patch", path.display()))
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let (message, changes) = text
            .split_once("\n---\n")
            .context("it lacks the line `---` between the message and the changes")?;
        let (subject, body) = message.split_once("\n\n").unwrap_or((message, ""));
        let subject = subject
            .strip_prefix("Subject: ")
            .filter(|subject| !subject.contains('\n'))
            .context("it has to begin with `Subject: `, an empty line and the message")?;
        let hunks = changes.find("diff --git ").unwrap_or(changes.len());
        let (places, diff) = changes.split_at(hunks);
        let mut placed = Vec::new();
        for line in places.lines() {
            let place = line.strip_prefix(PLACE);
            placed.push(
                place
                    .with_context(|| format!("it has the line `{line}`"))?
                    .into(),
            );
        }
        let names = diff.lines().filter_map(file_names);
        let files: BTreeSet<_> = names.flat_map(|(a, b)| [a.into(), b.into()]).collect();
        ensure!(
            !files.is_empty() || !placed.is_empty(),
            "it neither touches nor places a file"
        );
        Ok(Self {
            path: path.into(),
            subject: subject.into(),
            body: body.into(),
            places: placed,
            files,
            diff: diff.into(),
        })
    }

    /// Returns the content of the patch's file.
    pub fn text(&self) -> String {
        let places = self.places.iter();
        let places: String = places
            .map(|place| format!("{PLACE}{}\n", place.display()))
            .collect();
        let body = match self.body.trim_end() {
            "" => String::new(),
            body => format!("\n{body}\n"),
        };
        format!(
            "Subject: {}\n{body}---\n{places}{}",
            self.subject, self.diff
        )
    }

    /// Returns the commit message.
    pub fn message(&self) -> String {
        format!("{}\n\n{}", self.subject, self.body)
            .trim_end()
            .to_owned()
    }

    /// Returns the name of the patch for messages: its stage and its file.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self.path.iter().rev().take(2).collect();
        let parts = parts.iter().rev().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Applies the hunks of those files that `wanted` accepts to the files below `dir`. The context
    /// must match exactly, because changed context may mean something.
    pub fn apply(&self, dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        let Some(output) = self.git_apply(dir, &wanted, &[])? else {
            return Ok(());
        };
        if output.status.success() {
            return Ok(());
        }
        let reverse = self.git_apply(dir, &wanted, &["--reverse", "--check"])?;
        if reverse.is_some_and(|output| output.status.success()) {
            let (name, next) = (self.name(), WITHOUT_SERIES);
            bail!("the patch {name} is in this tree already\nnext: {next}");
        }
        Err(self.failure(&output, "does not apply", "a version that it is for"))
    }

    /// Takes the hunks of those files that `wanted` accepts back from the files below `dir`.
    pub fn revert(&self, dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        match self.git_apply(dir, &wanted, &["--reverse"])? {
            Some(output) if !output.status.success() => {
                let next = "`series --from` a tree in which the commit has been mended";
                Err(self.failure(&output, "does not come off the checkout's files", next))
            }
            _ => Ok(()),
        }
    }

    fn failure(&self, output: &Output, what: &str, next: &str) -> anyhow::Error {
        let said = String::from_utf8_lossy(&output.stderr);
        let failed = said.lines().find_map(failed_hunk);
        let hunk = failed.and_then(|(file, line)| self.hunk(file, line));
        anyhow::anyhow!(
            "the patch {} {what}\n{}{}\nnext: mend {}, or use {next}",
            self.name(),
            said.trim_end(),
            hunk.map_or(String::new(), |hunk| format!("\nthe hunk is\n{hunk}")),
            self.path.display()
        )
    }

    /// Returns `None` if there is nothing to do.
    fn git_apply(
        &self,
        dir: &Path,
        wanted: impl Fn(&Path) -> bool,
        options: &[&str],
    ) -> Result<Option<Output>> {
        let mut command = git::at(dir);
        command.args(["apply", "--whitespace=nowarn"]).args(options);
        let mut any = false;
        for file in self.files.iter().filter(|file| wanted(file)) {
            command.arg(format!("--include={}", file.display()));
            any = true;
        }
        if !any {
            return Ok(None);
        }
        git::output(command, &self.diff).map(Some)
    }

    /// Returns the hunk of a file at this line: of the original, or of the result.
    fn hunk(&self, file: &str, line: &str) -> Option<String> {
        let mut lines = self.diff.lines();
        lines.find(|text| file_names(text).is_some_and(|(a, b)| a == file || b == file))?;
        let mut lines = lines.take_while(|text| file_names(text).is_none());
        let starts = [format!(" -{line}"), format!(" +{line}")];
        let here = |text: &&str| {
            text.starts_with("@@ ")
                && starts.iter().any(|start| {
                    let rest = text.split_once(start.as_str()).map(|(_, rest)| rest);
                    rest.is_some_and(|rest| rest.starts_with([',', ' ']))
                })
        };
        let head = lines.find(here)?;
        let body = lines.take_while(|text| text.starts_with(['+', '-', ' ']));
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

    const PATCH: &str = "Subject: a: b\n\nWhy.\n---\nplace: k/x.rs\ndiff --git a/y b/y\n";

    #[test]
    fn patches_come_in_the_order_of_stages_and_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "core/0002-b.patch",
            "core/0001-a.patch",
            "core/README",
            "fixes/0001-z.patch",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, PATCH).unwrap();
        }
        let series = read(dir.path()).unwrap();
        let names: Vec<_> = patches(&series).iter().map(|patch| patch.name()).collect();
        assert_eq!(
            names,
            [
                "fixes/0001-z.patch",
                "core/0001-a.patch",
                "core/0002-b.patch"
            ]
        );
    }

    #[test]
    fn no_series_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let series = read(&dir.path().join("none")).unwrap();
        assert!(patches(&series).is_empty());
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let patch = Patch::parse(Path::new("core/0001-a.patch"), PATCH).unwrap();
        assert_eq!(patch.message(), "a: b\n\nWhy.");
        assert_eq!(patch.places, [PathBuf::from("k/x.rs")]);
        assert_eq!(patch.files, BTreeSet::from([PathBuf::from("y")]));
        assert_eq!(patch.text(), PATCH);
    }

    #[test]
    fn what_is_no_patch_is_refused_with_the_reason() {
        for (text, reason) in [
            (
                "Subject: nothing\n\nWhy.\n---\n",
                "neither touches nor places",
            ),
            ("Subject: x\n\ndiff --git a/x b/x\n", "lacks the line `---`"),
            (
                "From: x\n---\ndiff --git a/x b/x\n",
                "begin with `Subject: `",
            ),
            (
                "Subject: x\n---\nfoo\ndiff --git a/x b/x\n",
                "the line `foo`",
            ),
        ] {
            let error = Patch::parse(Path::new("a/b.patch"), text).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(reason), "no `{reason}` in: {error}");
        }
    }
}
