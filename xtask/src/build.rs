// SPDX-License-Identifier: GPL-2.0
//! Configuring and building the kernel.

use crate::cli;
use crate::context::Context;
use crate::target::Target;
use anyhow::{bail, Result};
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

/// Which livepatch core is in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Core {
    /// The C core that the tree comes with.
    C,
    /// The Rust core.
    Rust,
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C => "c",
            Self::Rust => "rust",
        })
    }
}

/// What else is configured into a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Only what live patching and its tests need.
    Plain,
}

/// A built kernel.
#[derive(Debug)]
pub struct Kernel {
    /// The grafted source.
    pub src: PathBuf,
    /// The object directory.
    pub out: PathBuf,
    /// The bootable image.
    pub image: PathBuf,
    /// What `uname -r` says in it.
    pub release: String,
    /// What it runs on.
    pub target: &'static Target,
    /// The livepatch core in it.
    pub core: Core,
}

impl Kernel {
    /// A `make` for this kernel, with everything set but what to make: for modules outside the tree and
    /// the like.
    pub fn make(&self, _cx: &Context) -> Result<Command> {
        bail!("still to come")
    }
}

/// A kernel for that target, with that core in it: made ready from nothing, or only what has changed.
pub fn kernel(_cx: &Context, _target: &'static Target, _core: Core) -> Result<Kernel> {
    bail!("still to come")
}

/// `cargo xtask build`.
pub fn run(cx: &Context, args: &cli::Build) -> Result<()> {
    let kernel = kernel(cx, args.arch, args.core)?;
    println!("{}", kernel.image.display());
    Ok(())
}
