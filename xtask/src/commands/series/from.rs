// SPDX-License-Identifier: GPL-2.0
//! Takes the commits of a git tree back into the checkout: its own files, and the patches.

use crate::kernel::content::{put, Content, Files};
use crate::kernel::graft;
use crate::kernel::series::{self, Patch};
use crate::tools::context::Context;
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use steps::git;

/// Takes over what has changed in `dir`, which `series --git` made. `also` has files of the tree
/// that the series may touch from now on.
pub fn take(cx: &Context, dir: &Path, also: &[PathBuf]) -> Result<()> {
    ensure!(
        dir.join(".git").exists(),
        "--from {}: it is no git tree\nnext: make one with `cargo xtask series --git DIR`",
        dir.display()
    );
    let left = git::run(dir, &["status", "--porcelain"], "")?;
    ensure!(
        left.is_empty(),
        "{} has changes that are in no commit\n{}\n\
         next: `git commit --fixup COMMIT`, then `git rebase --interactive --autosquash --root`",
        dir.display(),
        left.trim_end()
    );
    let series = series::of_checkout(cx)?;
    let patches = series::patches(&series);
    let commits = commits(dir, &patches)?;
    let house = graft::house(cx)?;
    let touched = patches.iter().flat_map(|patch| &patch.files);
    let known: BTreeSet<&Path> = touched
        .chain(house.keys())
        .chain(also)
        .map(PathBuf::as_path)
        .collect();

    // Everything is worked out first, so that nothing is written if a part of it is refused.
    let mut wanted = Files::new();
    let mut ours: BTreeSet<PathBuf> = house.keys().cloned().collect();
    for (patch, commit) in patches.iter().zip(&commits) {
        let taken = from_commit(cx, dir, patch, commit, &known)?;
        ours.extend(taken.places.iter().cloned());
        let path = relative(cx, &taken.path)?;
        wanted.insert(path, Some(text(taken.text().into_bytes())));
    }
    let gone = |file: &&PathBuf| !dir.join(file).exists();
    if let Some(file) = ours.iter().find(gone) {
        let file = file.display();
        bail!("{file} is not in the tree any more\nnext: remove it from the checkout first");
    }
    for file in &ours {
        let home = graft::home(cx, file).context("a file of the checkout has a place in it")?;
        wanted.insert(relative(cx, &home)?, Content::read(&dir.join(file))?);
    }
    let mut changed = 0;
    for (file, content) in &wanted {
        if put(&cx.root, file, content.as_ref())? {
            println!("{}", file.display());
            changed += 1;
        }
    }
    eprintln!("{changed} files changed");
    Ok(())
}

fn text(bytes: Vec<u8>) -> Content {
    Content {
        bytes,
        executable: false,
    }
}

fn relative(cx: &Context, path: &Path) -> Result<PathBuf> {
    Ok(path.strip_prefix(&cx.root)?.to_owned())
}

/// Returns the tree's commits, one for each patch.
fn commits(dir: &Path, patches: &[&Patch]) -> Result<Vec<String>> {
    let first = patches.first().context("the series has no patch")?;
    let log = git::run(dir, &["log", "--reverse", "--format=%H %s", "HEAD"], "")?;
    let log: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let start = log
        .iter()
        .position(|(_, subject)| *subject == first.subject);
    let commits = start.map_or(&[][..], |start| &log[start..]);
    for (index, (_, subject)) in commits.iter().enumerate() {
        let patch = patches.get(index);
        if patch.is_none_or(|patch| patch.subject != *subject) {
            bail!(
                "the series does not know the commit \"{subject}\" at this place\n\
                 next: squash it into the commit of a patch, or add, rename or remove the patch's \
                 file in xtask/series/ first"
            );
        }
    }
    if let Some(missing) = patches.get(commits.len()) {
        let (name, subject) = (missing.name(), &missing.subject);
        bail!("the tree has no commit \"{subject}\", which is {name}\nnext: see `git log` there");
    }
    Ok(commits.iter().map(|(hash, _)| (*hash).to_owned()).collect())
}

/// Returns a patch as its commit has it now.
fn from_commit(
    cx: &Context,
    dir: &Path,
    patch: &Patch,
    commit: &str,
    known: &BTreeSet<&Path>,
) -> Result<Patch> {
    let parent = &format!("{commit}^");
    let names = |filter: &str| -> Result<Vec<PathBuf>> {
        let args = [
            "diff",
            "--no-renames",
            "--name-only",
            filter,
            parent,
            commit,
        ];
        let names = git::run(dir, &args, "")?;
        Ok(names.lines().map(PathBuf::from).collect())
    };
    let mut places = names("--diff-filter=A")?;
    let belongs = |file: &PathBuf| {
        let listed = patch.places.contains(file);
        listed || !patch.files.contains(file) && graft::home(cx, file).is_some()
    };
    places.retain(belongs);
    let all = names("--diff-filter=ADMT")?;
    let unknown = |file: &&PathBuf| !known.contains(file.as_path()) && !places.contains(file);
    if let Some(file) = all.iter().find(unknown) {
        let (file, subject) = (file.display(), &patch.subject);
        bail!(
            "\"{subject}\" changes {file}, which the series does not touch\n\
             next: take it out of the commit, or allow it with `--also {file}`"
        );
    }
    let exclude = places
        .iter()
        .map(|file| format!(":(exclude){}", file.display()));
    let exclude: Vec<String> = exclude.collect();
    let mut args = vec![
        "diff",
        "--no-renames",
        "--unified=3",
        parent,
        commit,
        "--",
        ".",
    ];
    args.extend(exclude.iter().map(String::as_str));
    let diff = git::run(dir, &args, "")?;
    let message = git::run(dir, &["log", "-1", "--format=%b", commit], "")?;
    Ok(Patch {
        body: lines_without(&message, "Signed-off-by: ")
            .trim_end()
            .to_owned()
            + "\n",
        files: all
            .into_iter()
            .filter(|file| !places.contains(file))
            .collect(),
        places,
        diff: lines_without(&diff, "index "),
        ..(*patch).clone()
    })
}

fn lines_without(text: &str, start: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with(start)).collect()
}
