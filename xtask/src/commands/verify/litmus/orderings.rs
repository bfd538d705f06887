// SPDX-License-Identifier: GPL-2.0
//! Finds the orderings in the source of the core and the bridge, and where they are.

mod c;
mod list;
mod rust;

use crate::kernel::series;
use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use ignore::WalkBuilder;
use std::fs;
use std::path::{Path, PathBuf};

pub use crate::commands::verify::litmus::orderings::list::{Key, Orderings, RELAXED};

/// Directories with the kernel's source, except for the C that the series adds elsewhere.
const ROOMS: &[&str] = &["core/src", "core/linux", "arch"];

/// The stage of the series whose C code orders writes of instructions.
const STAGE: &str = "settled";

impl Orderings {
    /// Finds the orderings in a checkout.
    pub fn of_checkout(cx: &Context) -> Result<Self> {
        let mut found = Self::default();
        for room in ROOMS {
            for path in files(&cx.root.join(room))? {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let name = path.strip_prefix(&cx.root).unwrap_or(&path);
                found.add(name, &text)?;
            }
        }
        let series = series::of_checkout(cx)?;
        for patch in series.iter().filter(|stage| stage.name == STAGE) {
            for patch in &patch.patches {
                found.add_patch(&patch.diff);
            }
        }
        Ok(found)
    }

    /// Adds what a file has.
    fn add(&mut self, path: &Path, text: &str) -> Result<()> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let name = path.display().to_string();
        match extension.as_ref() {
            "rs" => rust::find(self, &name, text),
            "c" | "h" => {
                c::find(self, &name, text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds what the hunks of a patch add to files in C. The lines are those of the added text.
    fn add_patch(&mut self, diff: &str) {
        let (mut file, mut added) = ("", String::new());
        for line in diff.lines().chain(["+++ b/"]) {
            if let Some(next) = line.strip_prefix("+++ b/") {
                if file.ends_with(".c") || file.ends_with(".h") {
                    c::find(self, file, &added);
                }
                (file, added) = (next, String::new());
            } else if let Some(line) = line.strip_prefix('+') {
                added.push_str(line);
                added.push('\n');
            }
        }
    }
}

/// Returns the files below a directory that the host does not have for itself.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkBuilder::new(dir).build() {
        let entry = entry?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(found: &Orderings) -> Vec<(&str, &str)> {
        let keys = found.places.keys();
        keys.map(|(function, kind)| (function.as_str(), kind.as_str()))
            .collect()
    }

    #[test]
    fn only_what_a_patch_adds_to_c_counts() {
        let mut found = Orderings::default();
        found.add_patch(
            "diff --git a/k/x.c b/k/x.c\n--- a/k/x.c\n+++ b/k/x.c\n@@ -1 +1 @@\n \
             int old(void)\n-\tsmp_mb();\n+int new(void)\n+{\n+\tsmp_wmb();\n \tsmp_rmb();\n+}\n\
             diff --git a/y.rst b/y.rst\n--- a/y.rst\n+++ b/y.rst\n@@ -1 +1 @@\n+smp_mb();\n",
        );
        assert_eq!(keys(&found), [("new()", "smp_wmb")]);
    }

    #[test]
    fn this_checkout_has_the_orderings_of_both_languages_and_of_the_series() {
        let (_dir, cx) = Context::for_test();
        let found = Orderings::of_checkout(&cx).unwrap();
        for (function, kind) in [
            ("Site::publish()", "release"),
            ("livepatch_dispatch()", "smp_load_acquire(&site->word)"),
            ("ftrace_unsettle()", "kick_all_cpus_sync"),
        ] {
            let places = found.places.get(&(function.into(), kind.into()));
            assert_eq!(places.map(Vec::len), Some(1), "{function}: {kind}");
        }
    }
}
