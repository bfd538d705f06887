// SPDX-License-Identifier: GPL-2.0
//! The tree's checkpatch, over our files and over the patches to other files.

use crate::commands::lint::accepted::{self, Finding};
use crate::commands::lint::tree::Tree;
use crate::kernel::series::{self, Patch};
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::tally::Tally;
use anyhow::{bail, ensure, Result};
use ignore::WalkBuilder;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::step::{self, Step};
use xshell::cmd;

/// Runs a program whose exit status is 1 if it found something.
const FINDS: &str = "\"$@\" || [ $? -eq 1 ]";

/// Who sends a patch signs it off. The tree is no git clone, so it does not know the commits that
/// patches name.
const NOT_REPORTED: &str = "MISSING_SIGN_OFF,UNKNOWN_COMMIT_ID";

/// The sources of the guest's modules and programs, in the checkout.
const GUEST: &str = "tests/guest";

/// Checks the files that go into the tree.
pub fn files(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let files = tree.files(&["c", "h", "rs", "rst"])?;
        let found = in_files(cx, tree, "Check our files with checkpatch", files)?;
        accepted::judge(&cx.root.join("xtask/lint/checkpatch-files"), &found)
    };
    Tally::check(check())
}

/// Checks the sources of the guest tests.
pub fn guest(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let files = guest_sources(cx)?;
        let found = in_files(cx, tree, "Check the guest tests with checkpatch", files)?;
        accepted::judge(&cx.root.join("xtask/lint/checkpatch-guest"), &found)
    };
    Tally::check(check())
}

/// Checks the patches to other files of the tree.
pub fn series(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let series = series::of_checkout(cx)?;
        let mut patches = series::patches(&series);
        patches.retain(|patch| !patch.files.is_empty());
        ensure!(!patches.is_empty(), "xtask/series has no patch to check");
        let found = step::work("Check the series with checkpatch", || {
            in_patches(cx, tree, &patches)
        })?;
        accepted::judge(&cx.root.join("xtask/lint/checkpatch-series"), &found)
    };
    Tally::check(check())
}

fn guest_sources(cx: &Context) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkBuilder::new(cx.root.join(GUEST))
        .sort_by_file_path(Path::cmp)
        .build()
    {
        let path = entry?.into_path();
        if path.extension().is_some_and(|end| end == "c" || end == "h") {
            files.push(path.strip_prefix(&cx.root)?.to_path_buf());
        }
    }
    Ok(files)
}

fn in_files(cx: &Context, tree: &Tree, title: &str, files: Vec<PathBuf>) -> Result<Vec<Finding>> {
    let scratch = scratch(cx, tree)?;
    let mut arguments = vec!["--file".into()];
    arguments.extend(files);
    let command = command(cx, tree, scratch.path(), &arguments)?;
    let log = Step::new(cx, title, command).run()?;
    findings(&fs::read_to_string(log)?)
}

/// A finding in a hunk has the name of the tree's file, and one in the message the patch's.
fn in_patches(cx: &Context, tree: &Tree, patches: &[&Patch]) -> Result<Vec<Finding>> {
    let (scratch, mut found) = (scratch(cx, tree)?, Vec::new());
    for patch in patches {
        let path = &patch.path;
        // The files that it places are checked as files.
        let hunks = scratch.path().join("hunks.patch");
        let (subject, body, diff) = (&patch.subject, &patch.body, &patch.diff);
        fs::write(&hunks, format!("Subject: {subject}\n\n{body}\n---\n{diff}"))?;
        let arguments = ["--showfile".into(), hunks];
        let output = command(cx, tree, scratch.path(), &arguments)?.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("checkpatch failed on {}: {said}{why}", path.display());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for line in said.lines() {
            let of_message = if line.starts_with(':') { &*name } else { "" };
            found.extend(findings(&format!("{of_message}{line}"))?);
        }
    }
    Ok(found)
}

/// Returns a directory to run checkpatch in, with links to what it checks. It writes a list of the
/// tree's headers to its current directory, and judges files by their names from there.
fn scratch(cx: &Context, tree: &Tree) -> Result<tempfile::TempDir> {
    let scratch = tempfile::tempdir()?;
    let tops = tree.added.iter().filter_map(|file| file.iter().next());
    for name in tops.collect::<BTreeSet<_>>() {
        symlink(tree.linux.join(name), scratch.path().join(name))?;
    }
    symlink(cx.root.join("tests"), scratch.path().join("tests"))?;
    Ok(scratch)
}

fn command(cx: &Context, tree: &Tree, dir: &Path, arguments: &[PathBuf]) -> Result<Command> {
    provision::ensure(cx, &[provision::PERL])?;
    let (sh, linux) = (cx.shell()?, &tree.linux);
    sh.change_dir(dir);
    let script = linux.join("scripts/checkpatch.pl");
    let command = cmd!(
        sh,
        "sh -c {FINDS} sh perl {script} --root {linux} --strict --terse --show-types --no-summary
            --ignore {NOT_REPORTED} {arguments...}"
    );
    Ok(command.into())
}

/// Reads lines such as `a/b.c:12: CHECK:KIND: text`.
fn findings(log: &str) -> Result<Vec<Finding>> {
    // A few of the script's own warnings are about the script.
    let lines = log
        .lines()
        .filter(|line| !line.contains("checkpatch.pl line "));
    let finding = |line: &str| -> Option<Finding> {
        let (place, text) = line.split_once(": ")?;
        let (file, _) = place.rsplit_once(':')?;
        let mut parts = text.split(": ").next()?.split(':');
        let level = parts.next()?;
        if !["ERROR", "WARNING", "CHECK"].contains(&level) {
            return None;
        }
        Some(Finding {
            kind: parts.next()?.to_owned(),
            file: file.to_owned(),
            line: line.to_owned(),
        })
    };
    let mut found = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        match finding(line) {
            Some(finding) => found.push(finding),
            None => bail!("checkpatch did not run to its end: {line}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_its_kind_and_its_file() {
        let log = "kernel/a.c:12: CHECK:LONG_LINE: line length of 101: too long\n\
                   Use of uninitialized value in x at /t/scripts/checkpatch.pl line 2068.\n\
                   0001-a.patch:9: WARNING:COMMIT_LOG_LONG_LINE: Prefer\n";
        let found = findings(log).unwrap();
        let pairs = found
            .iter()
            .map(|one| (one.kind.as_str(), one.file.as_str()));
        assert_eq!(
            pairs.collect::<Vec<_>>(),
            [
                ("LONG_LINE", "kernel/a.c"),
                ("COMMIT_LOG_LONG_LINE", "0001-a.patch")
            ]
        );
        assert!(found[0].line.ends_with("too long"));
    }

    #[test]
    fn what_is_no_finding_is_an_error() {
        for line in [
            "Must be run from the top-level dir.",
            "a.c: No such file",
            "a.c:1: ODD:X: y",
        ] {
            let error = findings(line).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
