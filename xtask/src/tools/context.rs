// SPDX-License-Identifier: GPL-2.0
//! The context of a run: paths, number of jobs, and locks.
//!
//! Everything that is downloaded or built goes below one cache directory outside the checkout. Each
//! entry is named after what it was made from:
//!
//! | below the cache | holds |
//! |---|---|
//! | `apt/` | one private apt state per suite |
//! | `tools/` | bindgen, cargo-mutants, herd7, the Rust library source |
//! | `tree/` | scratch kernel trees that the crates are grafted onto |
//! | `build/` | kernel object directories |
//! | `patch/` | objects of live patches, one directory per kernel |
//! | `klp-build/` | trees that `klp-build` builds in, one per kernel |
//! | `logs/` | full output of every long step |
//! | `locks/` | one lock per resource that two runs must not use at the same time |

use anyhow::{bail, Context as _, Result};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xshell::Shell;

/// How long a run waits for a lock that another run holds. A cold kernel build holds a lock the
/// longest.
const LOCK_PATIENCE: Duration = Duration::from_secs(45 * 60);

/// What every command needs.
#[derive(Clone)]
pub struct Context {
    /// The checkout that xtask was built from.
    pub root: PathBuf,
    /// The cache directory, which exists.
    pub cache: PathBuf,
    /// Number of parallel jobs, at least one.
    pub jobs: usize,
    /// The kernel checkout to use in place of the packaged source.
    pub tree: Option<PathBuf>,
    /// Whether to use the newest kernel source that Debian has, instead of the usual one.
    pub newest: bool,
    /// Whether this work runs beside other work, which owns the terminal and gets the CPUs first.
    pub background: bool,
}

impl Context {
    /// Creates the context from the options of every command and the environment.
    pub fn new(tree: Option<&Path>, cache: Option<&Path>, jobs: Option<u16>) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not below a checkout")?
            .to_path_buf();
        let cache = match cache {
            Some(dir) => std::path::absolute(dir)?,
            None => default_cache()?,
        };
        let tree = match tree {
            Some(dir) => Some(dir.canonicalize().with_context(|| {
                format!(
                    "--tree {}: give a directory with a kernel checkout",
                    dir.display()
                )
            })?),
            None => None,
        };
        let jobs = match jobs {
            Some(jobs) => usize::from(jobs),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        Self::at(root, cache, jobs, tree)
    }

    fn at(root: PathBuf, cache: PathBuf, jobs: usize, tree: Option<PathBuf>) -> Result<Self> {
        if cache.to_string_lossy().contains([' ', ':']) {
            bail!(
                "kernels cannot be built below {}, which has a space or a colon in it: choose \
                 another place with --cache-dir",
                cache.display()
            );
        }
        let cx = Self {
            root,
            cache,
            jobs,
            tree,
            newest: false,
            background: false,
        };
        for dir in [cx.logs(), cx.locks()] {
            std::fs::create_dir_all(&dir).with_context(|| {
                format!(
                    "cannot create {}: choose another place with --cache-dir",
                    dir.display()
                )
            })?;
        }
        Ok(cx)
    }

    /// Returns a context for work that runs beside other work.
    pub fn in_background(&self) -> Self {
        Self {
            background: true,
            ..self.clone()
        }
    }

    /// Returns a context with its own cache, for tests.
    #[cfg(test)]
    pub fn for_test() -> (tempfile::TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .to_path_buf();
        let cx = Self::at(root, dir.path().to_path_buf(), 1, None).unwrap();
        (dir, cx)
    }

    /// Returns a shell in the checkout, so that programs see its `rust-toolchain.toml`.
    pub fn shell(&self) -> Result<Shell> {
        let sh = Shell::new().context("the current directory is gone")?;
        sh.change_dir(&self.root);
        Ok(sh)
    }

    /// Returns the directory with the full output of long steps.
    pub fn logs(&self) -> PathBuf {
        self.cache.join("logs")
    }

    /// Returns the directory of the locks.
    pub fn locks(&self) -> PathBuf {
        self.cache.join("locks")
    }

    /// Takes the named lock. Waits for another run that holds it, but at most for `LOCK_PATIENCE`.
    ///
    /// The kernel drops the lock with the process, so a killed run leaves no lock behind. Locks of
    /// different names nest. A run must not take the same lock twice.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        self.lock_for(name, LOCK_PATIENCE)
    }

    fn lock_for(&self, name: &str, patience: Duration) -> Result<Lock> {
        let path = self.locks().join(name);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open the lock {}", path.display()))?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()))
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let mut holder = String::new();
            file.rewind()?;
            file.read_to_string(&mut holder)?;
            let holder = holder.trim();
            if start.elapsed() >= patience {
                bail!(
                    "another xtask (process {holder}) has held `{name}` for {} s: let it finish, or end \
                     it, and try again; or use a cache of your own with --cache-dir",
                    patience.as_secs()
                );
            }
            if !told {
                eprintln!("waiting for another xtask (process {holder}) to finish with `{name}`");
                told = true;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { file })
    }
}

/// Evidence that this run alone uses a resource. Dropping it releases the resource.
#[must_use]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that was just forked still has a copy of the
        // descriptor. After an error, the lock is dropped with the process.
        let _ = self.file.unlock();
    }
}

fn default_cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("no home directory to cache in: name a place with --cache-dir")?;
    Ok(base.join("livepatch-rust"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_waited_for_but_not_forever() {
        let (_dir, cx) = Context::for_test();
        let held = cx.lock("thing").unwrap();
        let error = cx
            .lock_for("thing", Duration::ZERO)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        drop(cx.lock_for("thing", Duration::ZERO).unwrap());
    }
}
