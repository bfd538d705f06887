// SPDX-License-Identifier: GPL-2.0
//! Grafts our crates and patches onto a scratch kernel tree.
//!
//! The wanted files are first made aside, from the originals. Then only files that differ are
//! written. An unchanged file keeps its time stamp, so `make` rebuilds only what has changed. A
//! file that an earlier graft placed and this one does not is restored to its original.

use crate::kernel::content::{put, Content, Files};
use crate::kernel::series::{self, Patch};
use crate::kernel::source::Source;
use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use ignore::WalkBuilder;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories of the checkout, and where in the kernel tree they go.
const ROOMS: &[(&str, &str)] = &[
    ("core/src", "kernel/livepatch/core"),
    ("core/linux", "kernel/livepatch/linux"),
    ("arch", "kernel/livepatch/arch"),
    ("api", "rust/kernel"),
    ("samples", "samples/rust/livepatch"),
    ("Documentation", "Documentation"),
];

/// Names of files that serve the checkout or the host, not the kernel.
const NOT_GRAFTED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "target",
    "README.md",
    "kgraft",
    "kpatch",
    "packaging",
    "host.rs",
    "capability.rs",
    "claims.rs",
];

/// Grafts onto the scratch tree. Returns how many files changed. The caller holds the tree's lock.
pub fn graft(cx: &Context, source: &Source) -> Result<usize> {
    refresh(source)?;
    let placed = read_placed(source)?;
    let house = house(cx)?;
    let series = series::of_checkout(cx)?;
    let patches = series::patches(&series);
    let mut files = patched(cx, source, &placed, &patches, &house)?;
    files.extend(house);
    install(source, &placed, &files)
}

/// Brings the scratch tree up to date with its origin. The caller holds the tree's lock.
pub fn refresh(source: &Source) -> Result<()> {
    source.refresh(&read_placed(source)?)
}

/// Returns the files of the checkout that go into the tree, at their places there.
pub fn house(cx: &Context) -> Result<Files> {
    let mut files = Files::new();
    for (from, to) in ROOMS {
        files.extend(room(&cx.root.join(from), Path::new(to))?);
    }
    Ok(files)
}

/// Returns the place in the checkout of a file that goes into the tree.
pub fn home(cx: &Context, file: &Path) -> Option<PathBuf> {
    ROOMS.iter().find_map(|(from, to)| {
        let rest = file.strip_prefix(to).ok()?;
        Some(cx.root.join(from).join(rest))
    })
}

/// Returns the name of the lock for a source's scratch tree.
pub fn lock_name(source: &Source) -> String {
    format!("tree-{}", source.key)
}

/// Returns the files that the tree comes with and the patches touch, with the patches applied. The
/// checkout has its own files as they are afterwards.
fn patched(
    cx: &Context,
    source: &Source,
    placed: &BTreeSet<PathBuf>,
    patches: &[&Patch],
    house: &Files,
) -> Result<Files> {
    let stage = tempfile::Builder::new()
        .prefix("stage-")
        .tempdir_in(&cx.cache)?;
    let stage = stage.path();
    let touched = patches.iter().flat_map(|patch| &patch.files);
    let touched: BTreeSet<&PathBuf> = touched.filter(|file| !house.contains_key(*file)).collect();
    for file in &touched {
        if let Some(original) = source.original(file, placed)? {
            put(stage, file, Some(&original))?;
        }
    }
    for patch in patches {
        patch
            .apply(stage, |file| !house.contains_key(file))
            .with_context(|| format!("onto Linux {}", source.version))?;
    }
    touched
        .into_iter()
        .map(|file| Ok((file.clone(), Content::read(&stage.join(file))?)))
        .collect()
}

/// Returns the files of the checkout that go into the tree.
pub fn ours(cx: &Context) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (from, _) in ROOMS {
        files.extend(files_in(&cx.root.join(from))?);
    }
    Ok(files)
}

/// Returns the files of one of our directories, at their places in the tree.
fn room(dir: &Path, to: &Path) -> Result<Files> {
    let files = files_in(dir)?.into_iter();
    let placed = files.map(|file| Ok((to.join(file.strip_prefix(dir)?), Content::read(&file)?)));
    placed.collect()
}

/// Returns the files of one of our directories that go into the tree.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !dir.exists() {
        return Ok(files);
    }
    // Skip hidden and ignored files, which come from an editor or a merge.
    let mut walk = WalkBuilder::new(dir);
    walk.git_global(false);
    walk.filter_entry(|entry| !NOT_GRAFTED.iter().any(|name| entry.file_name() == *name));
    for entry in walk.build() {
        let entry = entry?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Puts `files` into the tree, and restores the other files that were placed. Returns how many
/// files changed.
///
/// At every moment the record of placed files covers at least the files that are placed, so the
/// next graft repairs an interrupted one.
fn install(source: &Source, placed: &BTreeSet<PathBuf>, files: &Files) -> Result<usize> {
    for file in files.keys().filter(|file| !placed.contains(*file)) {
        source.keep(file)?;
    }
    let wanted: BTreeSet<PathBuf> = files.keys().cloned().collect();
    let all: BTreeSet<PathBuf> = placed.union(&wanted).cloned().collect();
    write_placed(source, &all)?;
    let mut changed = 0;
    for file in &all {
        let want = match files.get(file) {
            Some(content) => content.clone(),
            None => source.original(file, placed)?,
        };
        changed += usize::from(put(&source.linux(), file, want.as_ref())?);
    }
    write_placed(source, &wanted)?;
    Ok(changed)
}

/// Returns the names of the files that are grafted.
pub fn read_placed(source: &Source) -> Result<BTreeSet<PathBuf>> {
    match fs::read_to_string(source.placed()) {
        Ok(text) => Ok(text.lines().map(PathBuf::from).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).context("cannot tell what was grafted before"),
    }
}

fn write_placed(source: &Source, placed: &BTreeSet<PathBuf>) -> Result<()> {
    let text: String = placed
        .iter()
        .map(|file| format!("{}\n", file.display()))
        .collect();
    let partial = source.placed().with_extension("partial");
    fs::write(&partial, text)?;
    fs::rename(&partial, source.placed()).context("cannot note what is grafted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// A tiny tree, and a graft of patches onto it.
    struct Fixture {
        _dir: tempfile::TempDir,
        cx: Context,
        source: Source,
    }

    impl Fixture {
        fn new() -> Self {
            let (dir, mut cx) = Context::for_test();
            cx.root = dir.path().join("checkout");
            let entry = dir.path().join("entry");
            fs::create_dir_all(cx.root.join("xtask/series/fixes")).unwrap();
            fs::create_dir_all(entry.join("linux/lib")).unwrap();
            fs::write(entry.join("linux/lib/a"), "1\n2\n3\n").unwrap();
            fs::write(entry.join("linux/lib/b"), "b\n").unwrap();
            let source = Source::for_test(&entry);
            Self {
                _dir: dir,
                cx,
                source,
            }
        }

        fn patch(&self, name: &str, file: &str, old: &str, new: &str) {
            let from = if old.is_empty() {
                "/dev/null".into()
            } else {
                format!("a/{file}")
            };
            let mode = if old.is_empty() {
                "new file mode 100644\n"
            } else {
                ""
            };
            let mark = |sign: char, text: &str| {
                text.lines()
                    .map(|line| format!("{sign}{line}\n"))
                    .collect::<String>()
            };
            let text = format!(
                "Subject: x\n---\ndiff --git a/{file} b/{file}\n{mode}--- {from}\n+++ b/{file}\n\
                 @@ -{},{} +1,{} @@\n{}{}",
                usize::from(!old.is_empty()),
                old.lines().count(),
                new.lines().count(),
                mark('-', old),
                mark('+', new)
            );
            fs::write(self.series(name), text).unwrap();
        }

        fn series(&self, name: &str) -> PathBuf {
            self.cx.root.join("xtask/series/fixes").join(name)
        }

        fn graft(&self) -> Result<usize> {
            graft(&self.cx, &self.source)
        }

        fn read(&self, file: &str) -> Option<String> {
            fs::read_to_string(self.source.linux().join(file)).ok()
        }

        fn changed_at(&self, file: &str) -> SystemTime {
            self.source
                .linux()
                .join(file)
                .metadata()
                .unwrap()
                .modified()
                .unwrap()
        }
    }

    #[test]
    fn a_second_graft_changes_nothing() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/a", "1\n2\n3\n", "1\ntwo\n3\n");
        tree.patch("0002.patch", "new/c", "", "c\n");
        assert_eq!(tree.graft().unwrap(), 2);
        let before = (tree.changed_at("lib/a"), tree.changed_at("new/c"));
        assert_eq!(tree.graft().unwrap(), 0);
        assert_eq!(before, (tree.changed_at("lib/a"), tree.changed_at("new/c")));
        assert_eq!(tree.read("lib/a").unwrap(), "1\ntwo\n3\n");
    }

    #[test]
    fn only_what_a_changed_patch_changes_is_written() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/a", "1\n2\n3\n", "1\ntwo\n3\n");
        tree.patch("0002.patch", "lib/b", "b\n", "B\n");
        tree.graft().unwrap();
        let before = tree.changed_at("lib/b");
        tree.patch("0001.patch", "lib/a", "1\n2\n3\n", "1\ndeux\n3\n");
        assert_eq!(tree.graft().unwrap(), 1);
        assert_eq!(tree.read("lib/a").unwrap(), "1\ndeux\n3\n");
        assert_eq!(before, tree.changed_at("lib/b"));
    }

    #[test]
    fn what_is_no_longer_grafted_goes_back_to_what_it_was() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/a", "1\n2\n3\n", "x\n");
        tree.patch("0002.patch", "new/dir/c", "", "c\n");
        tree.graft().unwrap();
        for name in ["0001.patch", "0002.patch"] {
            fs::remove_file(tree.series(name)).unwrap();
        }
        assert_eq!(tree.graft().unwrap(), 2);
        assert_eq!(tree.read("lib/a").unwrap(), "1\n2\n3\n");
        assert!(!tree.source.linux().join("new").exists());
        assert!(read_placed(&tree.source).unwrap().is_empty());
    }

    #[test]
    fn a_hunk_that_does_not_apply_is_named_and_the_tree_left_as_it_was() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/b", "b\n", "B\n");
        tree.graft().unwrap();
        tree.patch("0002-later.patch", "lib/a", "not\nthere\n", "x\n");
        let error = format!("{:#}", tree.graft().unwrap_err());
        for part in [
            "7.3.0",
            "0002-later.patch",
            "lib/a",
            "@@ -1,2 +1,1 @@",
            "-there",
        ] {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
        assert_eq!(tree.read("lib/a").unwrap(), "1\n2\n3\n");
        assert_eq!(tree.read("lib/b").unwrap(), "B\n");
        fs::remove_file(tree.series("0002-later.patch")).unwrap();
        assert_eq!(tree.graft().unwrap(), 0);
    }

    #[test]
    fn a_tree_that_has_the_series_already_is_told() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/b", "c\n", "b\n");
        let error = format!("{:#}", tree.graft().unwrap_err());
        assert!(error.contains("in this tree already"), "{error}");
    }

    #[test]
    fn an_interrupted_graft_is_made_good() {
        let tree = Fixture::new();
        tree.patch("0001.patch", "lib/a", "1\n2\n3\n", "x\n");
        tree.graft().unwrap();
        // The file looks as if the graft had been stopped while it wrote.
        fs::write(tree.source.linux().join("lib/a"), "").unwrap();
        assert_eq!(tree.graft().unwrap(), 1);
        assert_eq!(tree.read("lib/a").unwrap(), "x\n");
    }

    #[test]
    fn our_directories_go_in_without_what_is_for_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "a.rs",
            "sub/b.rs",
            "Cargo.toml",
            ".hidden",
            "sub/README.md",
            "kgraft/c.c",
            "packaging/d.toml",
        ];
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let files = room(dir.path(), Path::new("to")).unwrap();
        let names: Vec<_> = files.keys().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(names, ["to/a.rs", "to/sub/b.rs"]);
    }
}
