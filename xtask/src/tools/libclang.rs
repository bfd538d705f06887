// SPDX-License-Identifier: GPL-2.0
//! Finds the machine's libclangs.

use std::fmt;
use std::path::{Path, PathBuf};

/// The oldest libclang that the kernel and bindgen take.
pub const LEAST: u32 = 17;

/// A libclang.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Libclang {
    /// Its major version.
    pub version: u32,
    /// The directory it is in, for `LIBCLANG_PATH`.
    pub dir: PathBuf,
}

impl fmt::Display for Libclang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} in {}", self.version, self.dir.display())
    }
}

/// Returns the oldest libclang that is new enough, so that another one on the machine changes
/// nothing. A directory that the user names with `LIBCLANG_PATH` comes first.
pub fn oldest() -> Option<Libclang> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    if let Some(found) = named.as_deref().and_then(found_in) {
        return Some(found);
    }
    all().min()
}

/// Returns the libclangs on the machine, the newest of each directory.
pub fn all() -> impl Iterator<Item = Libclang> {
    let mut dirs = vec![
        PathBuf::from("/usr/lib"),
        "/usr/lib64".into(),
        "/usr/local/lib".into(),
    ];
    for entry in std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with("llvm") {
            dirs.push(entry.path().join("lib"));
        }
    }
    dirs.into_iter().filter_map(|dir| found_in(&dir))
}

/// Returns the newest libclang in a directory, if it is new enough.
fn found_in(dir: &Path) -> Option<Libclang> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let versions = entries.filter_map(|entry| {
        let file = entry.path().canonicalize().ok()?;
        version_in(&file.file_name()?.to_string_lossy())
    });
    let version = versions.max().filter(|version| *version >= LEAST)?;
    Some(Libclang {
        version,
        dir: dir.to_path_buf(),
    })
}

/// Returns the major version in a file name such as `libclang-19.so.19` or `libclang.so.19.1.7`.
fn version_in(name: &str) -> Option<u32> {
    let (stem, suffix) = name.strip_prefix("libclang")?.split_once(".so")?;
    let version = match stem.strip_prefix('-') {
        Some(version) => version,
        None if stem.is_empty() => suffix.strip_prefix('.')?,
        None => return None,
    };
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_by_its_file_name() {
        for (name, version) in [
            ("libclang-19.so.19", Some(19)),
            ("libclang-14.so.14.0.6", Some(14)),
            ("libclang.so.21.1", Some(21)),
            ("libclang-19.1.7.so", Some(19)),
            ("libclang-cpp.so.19.1", None),
            ("libclangAST.a", None),
            ("libclang.so", None),
        ] {
            assert_eq!(version_in(name), version, "{name}");
        }
    }

    #[test]
    fn an_old_libclang_will_not_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("libclang-14.so.1"), "").unwrap();
        assert_eq!(found_in(dir.path()), None);
        std::fs::write(dir.path().join("libclang-20.so.1"), "").unwrap();
        assert_eq!(found_in(dir.path()).unwrap().version, 20);
    }
}
