// SPDX-License-Identifier: GPL-2.0
//! The series as commits of a git tree: first the source as it comes, then a commit for each patch.

use crate::kernel::content::{put, Content, Files};
use crate::kernel::series::{self, Patch, Stage};
use crate::kernel::source::Source;
use crate::kernel::{graft, source};
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use steps::git;
use xshell::cmd;

/// Settings of the repository, so that the same series gives the same commits everywhere.
const SETTINGS: &[(&str, &str)] = &[
    ("core.autocrlf", "false"),
    ("core.abbrev", "12"),
    ("diff.renames", "false"),
    ("gc.auto", "0"),
];

/// How much of the source the git tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Only the files that the series touches.
    Touched,
    /// All of it, so that it can be built.
    Whole,
}

/// A git tree with the series.
#[derive(Debug)]
pub struct History {
    /// The git tree.
    pub dir: PathBuf,
    /// The commit with the source as it comes.
    pub base: String,
    /// The stages that have patches, and the commits of each.
    pub stages: Vec<(Stage, Vec<String>)>,
}

impl History {
    /// Makes a git tree of the series in the empty directory `dir`. The caller holds the source's
    /// lock, or knows that nothing else changes its tree.
    pub fn make(
        cx: &Context,
        source: &Source,
        dir: &Path,
        extent: Extent,
        who: &Identity,
    ) -> Result<Self> {
        let mut series = series::of_checkout(cx)?;
        series.retain(|stage| !stage.patches.is_empty());
        let house = graft::house(cx)?;
        let patches = series::patches(&series);
        each_is_placed_once(&patches, &house)?;
        let early = early(cx, &patches, &house)?;
        let date = date(cx)?;

        originals(cx, source, dir, extent, &patches, &house)?;
        git::run(dir, &["init", "--quiet", "--initial-branch=series"], "")?;
        for (name, value) in SETTINGS {
            git::run(dir, &["config", name, value], "")?;
        }
        let commit = |message: &str, sign_off: bool| -> Result<String> {
            git::run(dir, &["add", "--all", "--force"], "")?;
            let mut command = git::at(dir);
            command.args(["commit", "--quiet", "--no-verify", "--allow-empty"]);
            command.args(["--cleanup=verbatim", "--file=-"]);
            if sign_off {
                command.arg("--signoff");
            }
            who.sign(&mut command, &date);
            git::finish(command, message)?;
            let head = git::run(dir, &["rev-parse", "HEAD"], "")?;
            Ok(head.trim().to_owned())
        };
        let base = commit(&format!("Linux {}", source.version), false)?;
        let mut stages = Vec::new();
        for stage in series {
            let mut commits = Vec::new();
            for patch in &stage.patches {
                for file in &patch.places {
                    put(dir, file, early.get(file).and_then(Option::as_ref))?;
                }
                let onto = || format!("onto Linux {}", source.version);
                patch.apply(dir, |_| true).with_context(onto)?;
                commits.push(commit(&patch.message(), true)?);
            }
            stages.push((stage, commits));
        }
        Ok(Self {
            dir: dir.into(),
            base,
            stages,
        })
    }
}

/// Checks that each file of the checkout comes into the tree by exactly one patch.
fn each_is_placed_once(patches: &[&Patch], house: &Files) -> Result<()> {
    let mut by: BTreeMap<&Path, &Patch> = BTreeMap::new();
    for patch in patches {
        for file in &patch.places {
            if !house.contains_key(file) {
                let (name, file) = (patch.name(), file.display());
                bail!("{name} places {file}, which is no file of the checkout");
            }
            if let Some(first) = by.insert(file, patch) {
                let (one, other) = (first.name(), patch.name());
                bail!("both {one} and {other} place {}", file.display());
            }
        }
    }
    let missing: Vec<_> = house
        .keys()
        .filter(|file| !by.contains_key(file.as_path()))
        .map(|file| format!("  {}", file.display()))
        .collect();
    ensure!(
        missing.is_empty(),
        "no patch of the series places\n{}\n\
         next: add the line `place: FILE` to the patch in xtask/series/ that it belongs to",
        missing.join("\n")
    );
    Ok(())
}

/// Returns the checkout's files as the patches that place them have them: without the changes that
/// other patches make to them.
fn early(cx: &Context, patches: &[&Patch], house: &Files) -> Result<Files> {
    let aside = aside(cx)?;
    let dir = aside.path();
    for (file, content) in house {
        put(dir, file, content.as_ref())?;
    }
    for patch in patches.iter().rev() {
        patch.revert(dir, |file| house.contains_key(file))?;
    }
    let files = house.keys();
    files
        .map(|file| Ok((file.clone(), Content::read(&dir.join(file))?)))
        .collect()
}

/// Returns a new directory in the cache, which is removed when it is dropped.
pub fn aside(cx: &Context) -> Result<tempfile::TempDir> {
    let made = tempfile::Builder::new()
        .prefix("series-")
        .tempdir_in(&cx.cache);
    made.with_context(|| format!("cannot make a directory in {}", cx.cache.display()))
}

/// Puts the source as it comes into `dir`.
fn originals(
    cx: &Context,
    source: &Source,
    dir: &Path,
    extent: Extent,
    patches: &[&Patch],
    house: &Files,
) -> Result<()> {
    let placed = graft::read_placed(source)?;
    let touched = patches.iter().flat_map(|patch| &patch.files);
    let files: BTreeSet<&PathBuf> = touched.chain(house.keys()).collect();
    if extent == Extent::Whole {
        copy(cx, source, dir, &placed)?;
    }
    for file in files {
        let original = source.original(file, &placed)?;
        if house.contains_key(file) && original.is_some() {
            let (file, next) = (file.display(), source::WITHOUT_SERIES);
            bail!("this tree has {file} already\nnext: {next}");
        }
        put(dir, file, original.as_ref())?;
    }
    Ok(())
}

/// Copies the whole source as it comes to `dir`.
pub fn copy(cx: &Context, source: &Source, dir: &Path, placed: &BTreeSet<PathBuf>) -> Result<()> {
    let (sh, linux) = (cx.shell()?, source.linux());
    let copy = "--archive --reflink=auto --no-target-directory".split(' ');
    cmd!(sh, "cp {copy...} {linux} {dir}").quiet().run()?;
    for file in placed {
        put(dir, file, source.original(file, placed)?.as_ref())?;
    }
    Ok(())
}

/// Returns the date of the checkout's last commit, so that the same checkout gives the same patches.
fn date(cx: &Context) -> Result<String> {
    let sh = cx.shell()?;
    let date = cmd!(sh, "git log -1 --format=%aI HEAD")
        .quiet()
        .ignore_stderr()
        .read();
    date.context("cannot tell the date of the checkout's last commit: is it a git clone?")
}
