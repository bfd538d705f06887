// SPDX-License-Identifier: GPL-2.0
//! Fills the cache. An entry is complete or absent, and is made only if there is room for it.

use anyhow::{bail, Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A gibibyte.
pub const GIB: u64 = 1 << 30;

/// What to do if a disk is full.
pub const FULL: &str =
    "the disk is full: free some space (`cargo xtask clean --cache` and `klp-diff clean` free what is cached), or \
                        name a place on another disk with --cache-dir, and with TMPDIR for /tmp";

/// Whether an error means that a disk is full.
pub fn is_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| matches!(cause.kind(), StorageFull | QuotaExceeded))
}

/// Creates the directory `dest` with the content that `fill` puts into it.
///
/// The directory is filled under another name and renamed when `fill` has succeeded, so an existing
/// `dest` is complete. A partial directory of an earlier run is removed first. The caller holds the
/// lock for `dest`.
pub fn whole(dest: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let partial = partial(dest)?;
    remove(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let filled = fill(&partial).and_then(|()| {
        fs::rename(&partial, dest).with_context(|| format!("cannot make {}", dest.display()))
    });
    if filled.is_err() {
        // Report the original failure: the next run removes what is left over here.
        let _ = remove(&partial);
    }
    filled
}

fn partial(dest: &Path) -> Result<PathBuf> {
    let name = dest.file_name().context("a directory needs a name")?;
    Ok(dest.with_file_name(format!(".partial-{}", name.to_string_lossy())))
}

/// Checks that nothing is at `path` yet, which the user gave with `flag` for something new.
pub fn vacant(flag: &str, path: &Path) -> Result<()> {
    if path.exists() {
        let path = path.display();
        bail!("{flag} {path}: it is there already: name a new directory");
    }
    Ok(())
}

/// Removes a file or a directory, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the content of a file, or `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Gives a file this content, unless it has it. The directories above it are made.
pub fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if read(path)?.is_some_and(|own| own == bytes) {
        return Ok(());
    }
    let dir = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Checks that there is room for `bytes` at `path`, which need not exist yet.
pub fn room(path: &Path, bytes: u64, what: &str) -> Result<()> {
    let there = path
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there)
        .with_context(|| format!("cannot tell how full the disk with {} is", there.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < bytes {
        bail!(
            "no room for {what}: it takes {}, and {} has {} free\n\
             next: free some (`cargo xtask clean --cache` and `klp-diff clean` free what is cached), or name a place on \
             another disk with --cache-dir",
            human(bytes),
            there.display(),
            human(free)
        );
    }
    Ok(())
}

/// Formats a number of bytes for people.
pub fn human(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("entry");
        let result = whole(&dest, |partial| {
            fs::write(partial.join("half"), "")?;
            bail!("interrupted")
        });
        assert!(result.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_not_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("entry");
        let left = partial(&dest).unwrap();
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half"), "").unwrap();
        assert!(!dest.exists());
        whole(&dest, |partial| Ok(fs::write(partial.join("all"), "")?)).unwrap();
        assert!(dest.join("all").exists());
        assert!(!dest.join("half").exists());
        assert!(!left.exists());
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = fs::write("/dev/full", "some")
            .context("cannot write")
            .unwrap_err();
        assert!(is_full(&full), "{full:#}");
        let other = fs::read("/none").context("cannot read").unwrap_err();
        assert!(!is_full(&other), "{other:#}");
    }

    #[test]
    fn a_full_disk_is_told_beforehand() {
        let dir = tempfile::tempdir().unwrap();
        room(&dir.path().join("not/yet/there"), 1, "a byte").unwrap();
        let error = room(dir.path(), u64::MAX, "everything")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no room for everything"), "{error}");
        assert!(error.contains("--cache-dir"), "{error}");
    }
}
