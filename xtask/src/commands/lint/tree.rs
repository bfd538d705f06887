// SPDX-License-Identifier: GPL-2.0
//! The grafted tree, and which of its files are ours.

use crate::kernel::graft;
use crate::kernel::source::Source;
use crate::tools::context::Context;
use anyhow::{ensure, Result};
use std::path::PathBuf;

/// A grafted tree.
pub struct Tree {
    /// Where it is.
    pub linux: PathBuf,
    /// The files that the graft added, by their names in the tree.
    pub added: Vec<PathBuf>,
}

impl Tree {
    /// Grafts, and returns the tree.
    pub fn grafted(cx: &Context) -> Result<Self> {
        let source = Source::choose(cx)?;
        let _lock = cx.lock(&graft::lock_name(&source))?;
        graft::graft(cx, &source)?;
        Self::of(&source)
    }

    /// Returns the tree as a graft has left it.
    pub fn current(cx: &Context) -> Result<Self> {
        Self::of(&Source::choose(cx)?)
    }

    fn of(source: &Source) -> Result<Self> {
        Ok(Self {
            linux: source.linux(),
            added: source.added()?,
        })
    }

    /// Returns the added files with one of these extensions. Fails if there is none, because then a
    /// check of them would check nothing.
    pub fn files(&self, extensions: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = self.added.clone();
        files.retain(|file| {
            let extension = file.extension().unwrap_or_default();
            extensions.iter().any(|wanted| extension == *wanted)
        });
        ensure!(
            !files.is_empty(),
            "the graft added no file to check to {}",
            self.linux.display()
        );
        Ok(files)
    }
}
