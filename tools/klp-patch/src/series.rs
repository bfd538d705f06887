// SPDX-License-Identifier: GPL-2.0
//! A directory of patches, as distributions keep them: a file `series` names them in their order, or
//! else they go by their names.

use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that names the patches of a directory, one a line. `#` starts a comment, and words after
/// the name are options of other programs.
const SERIES: &str = "series";

/// How the names of patches end in a directory without that file.
const ENDS: [&str; 2] = ["patch", "diff"];

/// Returns the patches that these paths are or, if they are directories, hold.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    for path in paths {
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot read the patch {}", path.display()))?;
        match path.is_dir() {
            true => patches.extend(directory(&path)?),
            false => patches.push(path),
        }
    }
    let mut seen = BTreeSet::new();
    for patch in &patches {
        ensure!(
            seen.insert(patch),
            "{} is named twice; next: name each patch once",
            patch.display()
        );
    }
    Ok(patches)
}

/// Returns the patches of a directory in their order, at least one.
fn directory(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = dir.join(SERIES);
    let patches = match list.exists() {
        true => listed(dir, &list)?,
        false => sorted(dir)?,
    };
    ensure!(
        !patches.is_empty(),
        "there is no patch in {}\nnext: put files there whose names end in .patch, or list them in \
         a file `{SERIES}`",
        dir.display()
    );
    Ok(patches)
}

fn listed(dir: &Path, list: &Path) -> Result<Vec<PathBuf>> {
    let text =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let lines = text.lines().map(|line| line.split('#').next());
    let names = lines.filter_map(|line| line?.split_whitespace().next());
    names
        .map(|name| {
            let path = dir.join(name);
            ensure!(
                path.is_file(),
                "{} names {name}, which is not there\nnext: add the patch, or take the line out",
                list.display()
            );
            Ok(path)
        })
        .collect()
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", dir.display());
    let mut patches = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let end = path.extension().unwrap_or_default();
        if ENDS.iter().any(|known| end == *known) {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Result<Vec<String>> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(expand(paths)?.into_iter().map(name).collect())
    }

    #[test]
    fn a_directory_has_an_order() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().to_path_buf()];
        let error = names(&paths).unwrap_err().to_string();
        assert!(
            error.contains("there is no patch") && error.contains("next: "),
            "{error}"
        );
        for name in ["10-b.patch", "02-a.patch", "20-c.diff", "notes.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(
            names(&paths).unwrap(),
            ["02-a.patch", "10-b.patch", "20-c.diff"]
        );
        let series = dir.path().join("series");
        fs::write(&series, "# ours\n10-b.patch -p1\n\n  02-a.patch # last\n").unwrap();
        assert_eq!(names(&paths).unwrap(), ["10-b.patch", "02-a.patch"]);
        fs::write(&series, "03-gone.patch\n").unwrap();
        let error = names(&paths).unwrap_err().to_string();
        assert!(
            error.contains("03-gone.patch, which is not there"),
            "{error}"
        );
    }

    #[test]
    fn a_patch_is_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let one = dir.path().join("1.patch");
        fs::write(&one, "").unwrap();
        let error = names(&[one, dir.path().to_path_buf()]).unwrap_err();
        assert!(error.to_string().contains("named twice"), "{error}");
    }
}
