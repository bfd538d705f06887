// SPDX-License-Identifier: GPL-2.0
//! The tree as it is with the patch: links to the tree, and the patched files.
//!
//! A directory is one of the view's own if a patched file or a compiled source is in it or below it,
//! so that a path with `..` from there stays in the view. All other entries are links.

use crate::base::Base;
use crate::fix::{self, Fix};
use crate::record::{self, Record};
use anyhow::{bail, Context as _, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use steps::place;

/// The tree with the patch.
#[derive(Debug)]
pub struct View {
    /// The top of it.
    pub dir: PathBuf,
    /// Where the headers are that a patch may use besides those of the tree.
    pub headers: PathBuf,
    /// The tree.
    tree: PathBuf,
    /// The files that the patch touches, below the top, and the SHA-256 of each as it is patched.
    touched: BTreeMap<PathBuf, String>,
    /// The files of the tree that must not be read in their place: those that the patch touches.
    replaced: BTreeSet<PathBuf>,
    /// The files that were read and are none of these.
    checked: RefCell<HashSet<PathBuf>>,
}

impl View {
    /// Creates it at `dir`, in place of an earlier one, and applies the patch.
    pub fn create(
        base: &Base,
        (dir, headers): (&Path, &Path),
        fix: &Fix,
        records: &[Record],
    ) -> Result<Self> {
        let sources = records.iter().map(|record| &record.source);
        let mut own = BTreeSet::new();
        for file in fix.files.iter().chain(sources) {
            own.extend(file.ancestors().skip(1).map(Path::to_path_buf));
        }
        place::remove(dir)?;
        links(&base.tree, dir, &own)?;
        let mut replaced = BTreeSet::new();
        for file in &fix.files {
            let (from, to) = (base.tree.join(file), dir.join(file));
            if from.exists() {
                place::remove(&to)?;
                fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
                replaced.insert(from.canonicalize()?);
            }
        }
        fix.apply(dir)?;
        let hash = |file: &PathBuf| Ok((file.clone(), fix::hash(&dir.join(file))?));
        Ok(Self {
            dir: dir.to_path_buf(),
            headers: headers.to_path_buf(),
            tree: base.tree.clone(),
            touched: fix.files.iter().map(hash).collect::<Result<_>>()?,
            replaced,
            checked: RefCell::default(),
        })
    }

    /// Returns a view that is empty, of a patch that touches nothing.
    #[cfg(test)]
    pub fn for_test(tree: &Path, dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            headers: dir.join("headers"),
            tree: tree.to_owned(),
            touched: BTreeMap::new(),
            replaced: BTreeSet::new(),
            checked: RefCell::default(),
        }
    }

    /// Whether the patch touches this file of the tree.
    pub fn touches(&self, file: &Path) -> bool {
        self.touched.contains_key(file)
    }

    /// Returns the SHA-256 of a file of the view that is patched.
    pub fn content(&self, path: &Path) -> Option<&str> {
        let file = path.strip_prefix(&self.dir).ok()?;
        self.touched.get(&record::normal(file)).map(String::as_str)
    }

    /// Returns the file of the tree that a file of the view is a link to. Any other file is returned
    /// as it is.
    pub fn origin(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.dir) {
            Ok(file) => self.tree.join(file),
            Err(_) => path.to_owned(),
        }
    }

    /// Checks that a compiler has read no file that the patch replaces, by a path around the view.
    pub fn check(&self, read: &[PathBuf]) -> Result<()> {
        for path in read {
            // The same headers are read for most objects.
            if self.checked.borrow().contains(path) {
                continue;
            }
            let file = path.canonicalize().unwrap_or_else(|_| path.clone());
            if self.replaced.contains(&file) {
                bail!(
                    "the compiler read {} without the patch, as {}\n\
                     next: build the kernel from a copy of the tree with the patch, and report this",
                    file.display(),
                    path.display()
                );
            }
            self.checked.borrow_mut().insert(path.clone());
        }
        Ok(())
    }
}

/// Makes the view's own directories, and links for everything else.
fn links(tree: &Path, dir: &Path, own: &BTreeSet<PathBuf>) -> Result<()> {
    for part in own {
        let (from, to) = (tree.join(part), dir.join(part));
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        // The patch may add a directory.
        if !from.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
            let name = entry?.file_name();
            if !own.contains(&part.join(&name)) {
                symlink(from.join(&name), to.join(&name))
                    .with_context(|| format!("cannot make a link in {}", to.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_patched_is_a_link_and_the_tree_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, view) = (dir.path().join("tree"), dir.path().join("view"));
        for file in ["fs/proc/a.c", "fs/proc/b.c", "fs/c.h", "lib/d.c"] {
            let path = tree.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "one\n").unwrap();
        }
        let own = ["", "fs", "fs/proc", "new"].map(PathBuf::from).into();
        links(&tree, &view, &own).unwrap();
        let is_link = |name: &str| view.join(name).symlink_metadata().unwrap().is_symlink();
        assert!(is_link("lib") && is_link("fs/c.h") && is_link("fs/proc/b.c"));
        assert!(!is_link("fs") && !is_link("fs/proc") && !is_link("new"));
        // A relative path from a patched file stays in the view.
        let up = view.join("fs/proc/../c.h");
        fs::remove_file(&up).unwrap();
        fs::write(&up, "two\n").unwrap();
        assert_eq!(fs::read_to_string(tree.join("fs/c.h")).unwrap(), "one\n");
    }

    #[test]
    fn a_file_read_around_the_view_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("lib")).unwrap();
        fs::write(top.join("a.h"), "").unwrap();
        let view = View {
            replaced: [top.join("a.h")].into(),
            ..View::for_test(&top, &top.join("view"))
        };
        view.check(&[top.join("lib/b.h")]).unwrap();
        let error = view
            .check(&[top.join("lib/../a.h")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("without the patch"), "{error}");
    }
}
