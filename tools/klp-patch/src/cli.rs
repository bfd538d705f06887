// SPDX-License-Identifier: GPL-2.0
//! Every flag of `klp-diff`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Make the module of a live patch from a patch of the kernel's source.
///
/// Give it a patch as `git diff` writes it, and the directory that the kernel was built in:
///
///     klp-diff build fix.patch --build-dir linux-build
///     insmod fix.ko
///     cat /sys/kernel/livepatch/fix/transition     # 0: every task has moved over
///     echo 0 >/sys/kernel/livepatch/fix/enabled    # take it back
///
/// The objects that the patch changes are compiled twice, without and with it, as the kernel was.
/// What differs goes into the module, with all that it needs. What no live patch can do is refused,
/// with the reason and what to do instead. Neither the source nor the build directory is changed.
///
/// x86_64, arm64, s390 and powerpc; gcc or clang, also as cross compilers.
#[derive(Parser)]
#[command(name = "klp-diff", version, verbatim_doc_comment)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Directory for the objects that are kept, and for logs
    /// [default: $XDG_CACHE_HOME/livepatch-rust, else ~/.cache/livepatch-rust]
    #[arg(long, global = true, value_name = "DIR", env = "LIVEPATCH_RUST_CACHE")]
    pub cache_dir: Option<PathBuf>,
    /// Number of parallel jobs [default: one per CPU]
    #[arg(short, long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Make the module
    ///
    /// Several patches become one module. They are applied in the order in which they are named. A
    /// directory stands for its patches: those that its file `series` lists, or else all whose names
    /// end in .patch or .diff, sorted. Such a cumulative module replaces the live patches before it.
    Build(Build),
    /// Say what the patches change and why, and what is refused, without making a module
    ///
    /// For each function: whether its own source changed, or something that it inlines; whether it can
    /// sleep, so that a transition may have to wait; whether it is the main loop of a kernel thread;
    /// and the functions that it ends by jumping to, so that stacks do not show it.
    Explain(Explain),
    /// Remove the objects that earlier runs have kept for a kernel
    Clean(Kernel),
}

/// The kernel that a live patch is for.
#[derive(Args)]
pub struct Kernel {
    /// Directory that the kernel was built in, which may be its source; with objects, `vmlinux` and
    /// what make noted
    #[arg(long, value_name = "DIR")]
    pub build_dir: PathBuf,
    /// Source that the kernel was built from, to be checked against what the build directory says
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
}

/// Flags of `build`.
#[derive(Args)]
pub struct Build {
    /// The patches, or directories of patches, against the source of the kernel
    #[arg(value_name = "FIX.patch", required = true)]
    pub patches: Vec<PathBuf>,
    /// The kernel.
    #[command(flatten)]
    pub kernel: Kernel,
    /// File for the module; its name is that of the live patch [default: that of the first patch or
    /// directory, here]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Name of what the patch fixes, such as CVE-2026-1234, to be noted in the module; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    pub cve: Vec<String>,
    /// Who builds the module, such as `Jo Doe <jo@example.org>`, to be noted in it
    #[arg(long, value_name = "WHO")]
    pub builder: Option<String>,
    /// Structure whose layout the patch may change, since no object of it outlives a call of what the
    /// patch changes; may be given several times
    #[arg(long, value_name = "NAME")]
    pub layout: Vec<String>,
    /// Refuse if the build directory is not that of the kernel which runs here
    #[arg(long)]
    pub running: bool,
}

/// Flags of `explain`.
#[derive(Args)]
pub struct Explain {
    /// The patches, or directories of patches, against the source of the kernel
    #[arg(value_name = "FIX.patch", required = true)]
    pub patches: Vec<PathBuf>,
    /// The kernel.
    #[command(flatten)]
    pub kernel: Kernel,
    /// Also count how often each function is on the stacks of this system, looking N times; the
    /// kernel has to be the one that runs here
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "50")]
    pub sample: Option<u32>,
}
