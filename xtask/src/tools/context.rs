// SPDX-License-Identifier: GPL-2.0
//! The context of a run: the checkout, the kernel tree, and the cache.
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

use anyhow::{Context as _, Result};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use steps::workplace::Workplace;
use xshell::Shell;

/// What every command needs.
#[derive(Clone)]
pub struct Context {
    /// The checkout that xtask was built from.
    pub root: PathBuf,
    /// The kernel checkout to use in place of the packaged source.
    pub tree: Option<PathBuf>,
    /// Whether to use the newest kernel source that Debian has, instead of the usual one.
    pub newest: bool,
    work: Workplace,
}

/// The cache and its locks are at hand wherever the context is.
impl Deref for Context {
    type Target = Workplace;

    fn deref(&self) -> &Workplace {
        &self.work
    }
}

impl Context {
    /// Creates the context from the options of every command and the environment.
    pub fn new(tree: Option<&Path>, work: Workplace) -> Result<Self> {
        let tree = match tree {
            Some(dir) => Some(dir.canonicalize().with_context(|| {
                format!(
                    "--tree {}: give a directory with a kernel checkout",
                    dir.display()
                )
            })?),
            None => None,
        };
        Self::of(work, tree)
    }

    fn of(work: Workplace, tree: Option<PathBuf>) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not below a checkout")?
            .to_path_buf();
        Ok(Self {
            root,
            tree,
            newest: false,
            work,
        })
    }

    /// Returns a context for work that runs beside other work.
    pub fn in_background(&self) -> Self {
        let mut cx = self.clone();
        cx.work.background = true;
        cx
    }

    /// Returns a context with its own cache, for tests.
    #[cfg(test)]
    pub fn for_test() -> (tempfile::TempDir, Self) {
        let (dir, work) = Workplace::for_test().unwrap();
        (dir, Self::of(work, None).unwrap())
    }

    /// Returns a shell in the checkout, so that programs see its `rust-toolchain.toml`.
    pub fn shell(&self) -> Result<Shell> {
        let sh = Shell::new().context("the current directory is gone")?;
        sh.change_dir(&self.root);
        Ok(sh)
    }
}
