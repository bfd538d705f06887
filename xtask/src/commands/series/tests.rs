// SPDX-License-Identifier: GPL-2.0
//! A small checkout with a series, and a small tree that it is for.

use crate::commands::series::{check, from, out};
use crate::kernel::graft;
use crate::kernel::history::{Extent, History};
use crate::kernel::source::Source;
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use std::fs;
use std::path::{Path, PathBuf};
use steps::git;

/// Places both files of ours, the first of which a later patch changes.
const FIRST: &str = "\
Subject: lib: Begin

It has to begin.
---
place: kernel/livepatch/core/a.rs
place: kernel/livepatch/core/b.rs
diff --git a/lib/x b/lib/x
--- a/lib/x
+++ b/lib/x
@@ -1,3 +1,4 @@
 1
+one and a half
 2
 3
";

const SECOND: &str = "\
Subject: lib: Go on

It has to go on.

Fixes: 123456789abc (\"lib: x\")
---
diff --git a/kernel/livepatch/core/a.rs b/kernel/livepatch/core/a.rs
--- a/kernel/livepatch/core/a.rs
+++ b/kernel/livepatch/core/a.rs
@@ -1,2 +1,3 @@
 a
+more of a
 end
diff --git a/lib/x b/lib/x
--- a/lib/x
+++ b/lib/x
@@ -2,3 +2,4 @@
 one and a half
 2
 3
+4
";

struct Fixture {
    _dir: tempfile::TempDir,
    cx: Context,
    source: Source,
    who: Identity,
    scratch: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let (dir, mut cx) = Context::for_test();
        cx.root = dir.path().join("checkout");
        let entry = dir.path().join("entry");
        let who = Identity {
            name: "Ada".into(),
            email: "ada@example.org".into(),
        };
        let files = [
            ("core/src/a.rs", "a\nmore of a\nend\n"),
            ("core/src/b.rs", "b\n"),
            ("xtask/series/fixes/0001-first.patch", FIRST),
            ("xtask/series/fixes/cover.txt", "Fixes\n\nSome fixes.\n"),
            ("xtask/series/core/0001-second.patch", SECOND),
            ("xtask/series/core/cover.txt", "The core\n\nHere it is.\n"),
        ];
        for (name, text) in files {
            write(&cx.root.join(name), text);
        }
        write(&entry.join("linux/lib/x"), "1\n2\n3\n");
        write(&entry.join("linux/lib/y"), "y\n");
        git::run(&cx.root, &["init", "--quiet"], "").unwrap();
        let mut commit = git::at(&cx.root);
        commit.args(["commit", "--quiet", "--allow-empty", "--message=x"]);
        who.sign(&mut commit, "2001-02-03T04:05:06Z");
        git::finish(commit, "").unwrap();
        Self {
            source: Source::for_test(&entry),
            scratch: dir.path().join("scratch"),
            cx,
            who,
            _dir: dir,
        }
    }

    fn series(&self, name: &str) -> String {
        fs::read_to_string(self.cx.root.join("xtask/series").join(name)).unwrap()
    }

    fn tree(&self) -> History {
        fs::create_dir_all(&self.scratch).unwrap();
        let (cx, dir) = (&self.cx, &self.scratch);
        History::make(cx, &self.source, dir, Extent::Whole, &self.who).unwrap()
    }

    fn take(&self) -> anyhow::Result<()> {
        from::take(&self.cx, &self.scratch, &[])
    }

    /// Commits what is in the tree into its last commit.
    fn amend(&self) {
        git::run(&self.scratch, &["add", "--all"], "").unwrap();
        let mut commit = git::at(&self.scratch);
        commit.args(["commit", "--quiet", "--amend", "--no-edit"]);
        self.who.sign(&mut commit, "2001-02-03T04:05:06Z");
        git::finish(commit, "").unwrap();
    }

    fn refused(&self, parts: &[&str]) {
        let before = (
            self.series("fixes/0001-first.patch"),
            self.series("core/0001-second.patch"),
        );
        let error = format!("{:#}", self.take().unwrap_err());
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
        let after = (
            self.series("fixes/0001-first.patch"),
            self.series("core/0001-second.patch"),
        );
        assert_eq!(before, after);
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_mails_give_the_grafted_tree() {
    let it = Fixture::new();
    graft::graft(&it.cx, &it.source).unwrap();
    assert_eq!(check::same_as_graft(&it.cx, &it.source).unwrap(), (3, 2));
    let grafted = it.source.linux().join("lib/x");
    assert_eq!(
        fs::read_to_string(grafted).unwrap(),
        "1\none and a half\n2\n3\n4\n"
    );
}

#[test]
fn the_same_checkout_gives_the_same_mails() {
    let it = Fixture::new();
    let [one, two] = ["one", "two"].map(|name| it.cx.cache.join(name));
    for dir in [&one, &two] {
        out::mails(&it.cx, &it.source, &it.who, dir).unwrap();
    }
    for name in [
        "fixes/0000-cover-letter.txt",
        "fixes/0001-lib-Begin.patch",
        "core/0001-lib-Go-on.patch",
    ] {
        let text = fs::read_to_string(one.join(name)).unwrap();
        assert_eq!(text, fs::read_to_string(two.join(name)).unwrap());
        assert!(text.contains("From: Ada <ada@example.org>"), "{text}");
        assert!(
            text.contains("Date: Sat, 3 Feb 2001 04:05:06 +0000"),
            "{text}"
        );
    }
    let cover = fs::read_to_string(one.join("fixes/0000-cover-letter.txt")).unwrap();
    assert!(
        cover.contains("Subject: [PATCH 0/1] Fixes\n\nSome fixes.\n"),
        "{cover}"
    );
    let patch = fs::read_to_string(one.join("core/0001-lib-Go-on.patch")).unwrap();
    let trailers = "Fixes: 123456789abc (\"lib: x\")\nSigned-off-by: Ada <ada@example.org>\n---\n";
    assert!(patch.contains(trailers), "{patch}");
}

#[test]
fn each_patch_has_our_files_as_they_are_at_that_point() {
    let it = Fixture::new();
    let tree = it.tree();
    let first = &tree.stages[0].1[0];
    let show = |what: &str| git::run(&tree.dir, &["show", what], "").unwrap();
    assert_eq!(
        show(&format!("{first}:kernel/livepatch/core/a.rs")),
        "a\nend\n"
    );
    assert_eq!(
        show("HEAD:kernel/livepatch/core/a.rs"),
        "a\nmore of a\nend\n"
    );
}

#[test]
fn a_tree_without_an_edit_changes_nothing() {
    let it = Fixture::new();
    it.tree();
    it.take().unwrap();
    assert_eq!(it.series("fixes/0001-first.patch"), FIRST);
    assert_eq!(it.series("core/0001-second.patch"), SECOND);
}

#[test]
fn an_edited_commit_comes_back_into_its_patch_and_our_files() {
    let it = Fixture::new();
    it.tree();
    write(&it.scratch.join("lib/x"), "1\none and a half\n2\n3\n5\n");
    write(
        &it.scratch.join("kernel/livepatch/core/a.rs"),
        "a\nmuch more of a\nend\n",
    );
    write(&it.scratch.join("kernel/livepatch/core/c.rs"), "c\n");
    it.amend();
    it.take().unwrap();
    assert_eq!(it.series("fixes/0001-first.patch"), FIRST);
    let second = SECOND
        .replace("+4", "+5")
        .replace("+more", "+much more")
        .replace("---\ndiff", "---\nplace: kernel/livepatch/core/c.rs\ndiff");
    assert_eq!(it.series("core/0001-second.patch"), second);
    let ours = |name: &str| fs::read_to_string(it.cx.root.join("core/src").join(name)).unwrap();
    assert_eq!(
        (ours("a.rs").as_str(), ours("c.rs").as_str()),
        ("a\nmuch more of a\nend\n", "c\n")
    );
}

#[test]
fn a_file_that_the_series_does_not_touch_is_named_and_refused() {
    let it = Fixture::new();
    it.tree();
    write(&it.scratch.join("lib/y"), "z\n");
    it.refused(&["changes that are in no commit", "lib/y"]);
    it.amend();
    it.refused(&["lib: Go on", "changes lib/y", "--also lib/y"]);
    from::take(&it.cx, &it.scratch, &["lib/y".into()]).unwrap();
    assert!(it.series("core/0001-second.patch").contains("-y\n+z\n"));
}

#[test]
fn commits_that_are_not_those_of_the_series_are_named() {
    let it = Fixture::new();
    it.tree();
    git::run(&it.scratch, &["reset", "--quiet", "--hard", "HEAD^"], "").unwrap();
    it.refused(&["no commit \"lib: Go on\"", "core/0001-second.patch"]);
    write(&it.scratch.join("lib/x"), "6\n");
    git::run(&it.scratch, &["add", "--all"], "").unwrap();
    let mut commit = git::at(&it.scratch);
    commit.args(["commit", "--quiet", "--message=lib: Other"]);
    it.who.sign(&mut commit, "2001-02-03T04:05:06Z");
    git::finish(commit, "").unwrap();
    it.refused(&["does not know the commit \"lib: Other\""]);
}

#[test]
fn a_file_of_ours_in_no_patch_is_named() {
    let it = Fixture::new();
    write(&it.cx.root.join("core/src/c.rs"), "c\n");
    let error = check::same_as_graft(&it.cx, &it.source).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("no patch of the series places\n  kernel/livepatch/core/c.rs"),
        "{error}"
    );
}

#[test]
fn a_hunk_that_our_files_do_not_have_is_shown() {
    let it = Fixture::new();
    write(&it.cx.root.join("core/src/a.rs"), "a\nend\n");
    let error = out::mails(&it.cx, &it.source, &it.who, &it.cx.cache.join("out")).unwrap_err();
    let error = format!("{error:#}");
    for part in [
        "core/0001-second.patch does not come off",
        "+more of a",
        "series --from",
    ] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

#[test]
fn a_tree_that_the_series_does_not_fit_is_told_with_patch_file_and_hunk() {
    let it = Fixture::new();
    write(&it.source.linux().join("lib/x"), "1\nII\n3\n");
    let dir = it.cx.cache.join("out");
    let error = out::mails(&it.cx, &it.source, &it.who, &dir).unwrap_err();
    let error = format!("{error:#}");
    for part in [
        "7.3.0",
        "fixes/0001-first.patch",
        "lib/x",
        "@@ -1,3 +1,4 @@",
    ] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    assert!(!dir.exists());
}
