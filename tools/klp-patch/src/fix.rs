// SPDX-License-Identifier: GPL-2.0
//! A patch of the source: the files that it touches. What no live patch can hold is refused here.

use crate::outline::{self, Outline};
use crate::{comment, series};
use anyhow::{bail, ensure, Context as _, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use steps::{git, place};

/// A change of the source: one patch, or several on top of each other.
#[derive(Debug)]
pub struct Fix {
    /// The files that the patches are in, in their order.
    pub patches: Vec<PathBuf>,
    /// The files that they touch, below the top of the tree.
    pub files: BTreeSet<PathBuf>,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.patches.split_first() else {
            return f.write_str("no patch");
        };
        write!(f, "{}", first.display())?;
        match rest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Fix {
    /// Reads patches. Each path is that of a patch, or of a directory of patches: see
    /// [`series::expand`].
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let patches = series::expand(paths)?;
        let mut touched = BTreeSet::new();
        for patch in &patches {
            touched.extend(touches(patch)?);
        }
        Ok(Self {
            patches,
            files: touched,
        })
    }

    /// Applies it to the files below `dir`. The context of each patch must match exactly.
    pub fn apply(&self, dir: &Path) -> Result<()> {
        for (at, patch) in self.patches.iter().enumerate() {
            apply(dir, patch).with_context(|| match at {
                0 => format!("{} does not apply", patch.display()),
                at => format!(
                    "{} does not apply on top of the {at} before it",
                    patch.display()
                ),
            })?;
        }
        Ok(())
    }

    /// Returns what it does to each file of the tree.
    pub fn changes(&self, tree: &Path) -> Result<Vec<Change>> {
        let dir = tempfile::tempdir()?;
        for file in &self.files {
            let (from, to) = (tree.join(file), dir.path().join(file));
            if from.exists() {
                fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
        }
        self.apply(dir.path())?;
        let change = |file: &PathBuf| {
            let before = place::read(&tree.join(file))?;
            let after = fs::read(dir.path().join(file))?;
            Ok(Change::new(file, before.as_deref(), &after))
        };
        self.files.iter().map(change).collect()
    }

    /// Returns the SHA-256 of each patch's file, separated by commas.
    pub fn hashes(&self) -> Result<String> {
        let hashes: Vec<_> = self
            .patches
            .iter()
            .map(|patch| hash(patch))
            .collect::<Result<_>>()?;
        Ok(hashes.join(","))
    }
}

/// What is done to a file.
#[derive(Debug)]
pub struct Change {
    /// The file, below the top of the tree.
    pub file: PathBuf,
    /// Whether more than comments and white space changes.
    pub is_code: bool,
    /// What it defines in the tree; nothing, if it is new.
    pub before: Outline,
    /// What it defines with the patches.
    pub after: Outline,
}

impl Change {
    fn new(file: &Path, before: Option<&[u8]>, after: &[u8]) -> Self {
        let is_c = file.extension().is_some_and(|end| end == "c" || end == "h");
        let same = |text: &[u8]| comment::only_comments_differ(text, after);
        let outline = |text: &[u8]| outline::outline(&String::from_utf8_lossy(text));
        Self {
            file: file.to_owned(),
            is_code: !(is_c && before.is_some_and(same)),
            before: outline(before.unwrap_or_default()),
            after: outline(after),
        }
    }
}

/// Returns the SHA-256 of a file, as `sha256sum` prints it.
pub fn hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = Sha256::digest(&bytes);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the files that a patch touches.
fn touches(patch: &Path) -> Result<BTreeSet<PathBuf>> {
    let dir = tempfile::tempdir()?;
    let mut command = git::at(dir.path());
    command.args([
        "-c",
        "core.quotePath=false",
        "apply",
        "--numstat",
        "--summary",
    ]);
    let output = command.arg(patch).output().context("cannot run git")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{} is no patch: {}\nnext: make it with `git diff` or `diff -up`, from the top of the tree",
        patch.display(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    files(&said).with_context(|| format!("no live patch can be made of {}", patch.display()))
}

/// Applies a patch to the files below `dir`.
fn apply(dir: &Path, patch: &Path) -> Result<()> {
    let mut command = git::at(dir);
    command.args(["apply", "--whitespace=nowarn"]);
    let output = command.arg(patch).output().context("cannot run git")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    let mut reverse = git::at(dir);
    reverse.args(["apply", "--reverse", "--check"]).arg(patch);
    let next = match reverse.output()?.status.success() {
        true => "the tree has it already; name a tree and a build directory without it",
        false => "rebase it onto the source that the kernel was built from",
    };
    bail!("{said}\nnext: {next}");
}

/// Returns the files that `git apply --numstat --summary` lists.
fn files(listed: &str) -> Result<BTreeSet<PathBuf>> {
    let (mut files, mut bad) = (BTreeSet::new(), Vec::new());
    for line in listed.lines() {
        let fields: Vec<&str> = line.splitn(3, '\t').collect();
        match fields[..] {
            ["-", "-", file] => bad.push(format!("{file} is binary")),
            [_, _, file] => {
                bad.extend(objection(Path::new(file)).map(|why| format!("{file} {why}")));
                files.insert(PathBuf::from(file));
            }
            _ if line.starts_with(" delete") || line.starts_with(" rename") => {
                bad.push(format!(
                    "it has a{line}; keep the file, and empty its functions if need be"
                ));
            }
            _ => {}
        }
    }
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    ensure!(!files.is_empty(), "it touches no file");
    Ok(files)
}

/// Returns what is wrong with a patch that touches this file.
fn objection(file: &Path) -> Option<&'static str> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    match (&*name, &*extension) {
        (name, _) if name.starts_with("Kconfig") => {
            Some("is a part of the configuration, which a running kernel has fixed; leave it out")
        }
        (name, _) if name.starts_with("Makefile") || name.starts_with("Kbuild") => {
            Some("says how the kernel is built, which has happened; leave it out, and put new code into files that are built")
        }
        (name, _) if name.ends_with(".lds.S") || name.ends_with(".lds") => {
            Some("is a script of the linker, which has run; leave it out")
        }
        (_, "S" | "s") => {
            Some("is assembly, whose functions have no patch site; change the C code that calls them")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(listed: &str) -> String {
        format!("{:#}", files(listed).unwrap_err())
    }

    #[test]
    fn the_files_are_those_of_the_hunks() {
        let files =
            files("1\t2\tfs/proc/a.c\n1\t0\tinclude/b c.h\n create mode 100644 include/b c.h\n");
        let expected = ["fs/proc/a.c", "include/b c.h"].map(PathBuf::from);
        assert_eq!(files.unwrap(), expected.into());
    }

    #[test]
    fn what_no_live_patch_can_hold_is_named_with_a_remedy() {
        for (file, part) in [
            ("arch/x86/entry/entry_64.S", "is assembly"),
            ("init/Kconfig", "configuration"),
            ("lib/Kconfig.debug", "configuration"),
            ("fs/proc/Makefile", "how the kernel is built"),
            ("arch/x86/kernel/vmlinux.lds.S", "script of the linker"),
        ] {
            let error = error(&format!("1\t1\tfs/a.c\n1\t1\t{file}\n"));
            assert!(error.starts_with(file) && error.contains(part), "{error}");
            assert!(error.contains(';') && !error.contains("fs/a.c"), "{error}");
        }
        assert!(error("0\t9\ta.c\n delete mode 100644 a.c\n").contains("delete mode 100644 a.c"));
        assert!(error("1\t1\tb.c\n rename fs/{a.c => b.c} (90%)\n").contains("rename"));
        assert!(error("-\t-\tlogo.png\n").contains("binary"));
        assert!(error("").contains("no file"));
    }

    #[test]
    fn a_file_whose_comments_alone_change_has_no_changed_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.patch");
        let hunk = |file: &str, old: &str, new: &str| {
            format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{old}\n+{new}\n")
        };
        let text = [
            hunk("a.h", "int a;", "int a; /* one */"),
            hunk("b.h", "int b;", "int c;"),
            // Nobody knows what a comment is there.
            hunk("c.tbl", "int a;", "int a; /* one */"),
            "--- /dev/null\n+++ b/d.h\n@@ -0,0 +1 @@\n+/* new */\n".to_owned(),
        ];
        fs::write(&path, text.concat()).unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for (file, text) in [
            ("a.h", "int a;\n"),
            ("b.h", "int b;\n"),
            ("c.tbl", "int a;\n"),
        ] {
            fs::write(tree.join(file), text).unwrap();
        }
        let changes = Fix::read(&[path]).unwrap().changes(&tree).unwrap();
        let code = changes.iter().filter(|change| change.is_code);
        let code: Vec<_> = code.map(|change| change.file.to_str().unwrap()).collect();
        assert_eq!(code, ["b.h", "c.tbl", "d.h"]);
        assert_eq!(fs::read_to_string(tree.join("a.h")).unwrap(), "int a;\n");
    }

    #[test]
    fn a_file_that_is_no_patch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.patch");
        std::fs::write(&path, "some words\n").unwrap();
        let error = format!("{:#}", Fix::read(&[path]).unwrap_err());
        assert!(
            error.contains("is no patch") && error.contains("next: "),
            "{error}"
        );
    }

    #[test]
    fn patches_go_on_top_of_each_other_and_the_one_that_does_not_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let diff =
            |from: &str, to: &str| format!("--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let one = write("1.patch", &diff("one", "two"));
        let two = write("2.patch", &diff("two", "three"));
        write("a.c", "one\n");
        let fix = Fix::read(&[one.clone(), two.clone()]).unwrap();
        assert_eq!(fix.to_string(), format!("{} and 1 more", one.display()));
        assert_eq!(fix.hashes().unwrap().len(), 129);
        assert!(fix.changes(dir.path()).unwrap()[0].is_code);
        fix.apply(dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("a.c")).unwrap(),
            "three\n"
        );

        write("a.c", "one\n");
        let wrong = Fix::read(&[one, write("3.patch", &diff("three", "four"))]).unwrap();
        let error = format!("{:#}", wrong.apply(dir.path()).unwrap_err());
        assert!(
            error.contains("3.patch does not apply on top of the 1 before it"),
            "{error}"
        );
    }

    #[test]
    fn a_patch_that_does_not_apply_says_whether_it_is_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.patch");
        let diff = "--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-one\n+two\n";
        std::fs::write(&path, diff).unwrap();
        let fix = Fix::read(&[path]).unwrap();
        let tree = dir.path().join("tree");
        assert_eq!(fix.hashes().unwrap().len(), 64);
        std::fs::create_dir(&tree).unwrap();
        for (text, part) in [("two\n", "has it already"), ("three\n", "rebase")] {
            std::fs::write(tree.join("a.c"), text).unwrap();
            let error = format!("{:#}", fix.apply(&tree).unwrap_err());
            assert!(error.contains(part), "{error}");
            assert_eq!(std::fs::read_to_string(tree.join("a.c")).unwrap(), text);
        }
        std::fs::write(tree.join("a.c"), "one\n").unwrap();
        fix.apply(&tree).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("a.c")).unwrap(), "two\n");
    }
}
