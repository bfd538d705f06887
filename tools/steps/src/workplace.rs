// SPDX-License-Identifier: GPL-2.0
//! The cache directory of a program, and its locks.

use anyhow::{bail, Context as _, Result};
use clap::Args;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a run waits for a lock that another run holds. A cold kernel build holds a lock the
/// longest.
const LOCK_PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Where every command of a program works.
#[derive(Args, Debug)]
pub struct Options {
    /// Directory for all that is kept, such as builds, objects and logs
    /// [default: $XDG_CACHE_HOME/livepatch-rust, else ~/.cache/livepatch-rust]
    #[arg(long, global = true, value_name = "DIR", env = "LIVEPATCH_RUST_CACHE")]
    pub cache_dir: Option<PathBuf>,
    /// Number of parallel jobs [default: one per CPU]
    #[arg(short, long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

impl Options {
    /// Opens the cache directory.
    pub fn open(&self) -> Result<Workplace> {
        Workplace::open(self.cache_dir.as_deref(), self.jobs)
    }
}

/// Where a program works: everything that it downloads or makes goes below one directory.
#[derive(Clone, Debug)]
pub struct Workplace {
    /// The cache directory, which exists.
    pub cache: PathBuf,
    /// Number of parallel jobs, at least one.
    pub jobs: usize,
    /// Whether this work runs beside other work, which owns the terminal and gets the CPUs first.
    pub background: bool,
}

impl Workplace {
    /// Opens the cache directory, by default the usual one, for `jobs` jobs, by default one per CPU.
    pub fn open(cache: Option<&Path>, jobs: Option<u16>) -> Result<Self> {
        let cache = match cache {
            Some(dir) => std::path::absolute(dir)?,
            None => default_cache()?,
        };
        let jobs = match jobs {
            Some(jobs) => usize::from(jobs),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        Self::at(cache, jobs)
    }

    /// Opens this cache directory.
    pub fn at(cache: PathBuf, jobs: usize) -> Result<Self> {
        if cache.to_string_lossy().contains([' ', ':']) {
            bail!(
                "kernels cannot be built below {}, which has a space or a colon in it: choose \
                 another place with --cache-dir",
                cache.display()
            );
        }
        let work = Self {
            cache,
            jobs,
            background: false,
        };
        for dir in [work.logs(), work.locks()] {
            std::fs::create_dir_all(&dir).with_context(|| {
                format!(
                    "cannot create {}: choose another place with --cache-dir",
                    dir.display()
                )
            })?;
        }
        Ok(work)
    }

    /// Returns one with its own cache, for tests.
    #[doc(hidden)]
    pub fn for_test() -> Result<(tempfile::TempDir, Self)> {
        let dir = tempfile::tempdir()?;
        let work = Self::at(dir.path().to_path_buf(), 1)?;
        Ok((dir, work))
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
                    "another run (process {holder}) has held `{name}` for {} s: let it finish, or end \
                     it, and try again; or use a cache of your own with --cache-dir",
                    patience.as_secs()
                );
            }
            if !told {
                eprintln!("waiting for another run (process {holder}) to finish with `{name}`");
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
        let (_dir, work) = Workplace::for_test().unwrap();
        let held = work.lock("thing").unwrap();
        let error = work
            .lock_for("thing", Duration::ZERO)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        drop(work.lock_for("thing", Duration::ZERO).unwrap());
    }
}
