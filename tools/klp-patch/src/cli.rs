// SPDX-License-Identifier: GPL-2.0
//! Every flag of `klp-diff`.

use clap::{Args, Parser, Subcommand};
use klp_patch::flags::{Making, Patches};
use std::path::PathBuf;
use steps::workplace::Options;

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
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Make the module
    ///
    /// Several patches become one module. They are applied in the order in which they are named. A
    /// directory stands for its patches: those that its file `series` lists, or else all whose names
    /// end in .patch or .diff, sorted. Such a cumulative module replaces the live patches before it.
    /// What distributions say of a live patch goes into a manifest, such as samples/packaging/fixes.toml.
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
    /// The module.
    #[command(flatten)]
    pub making: Making,
    /// The kernel.
    #[command(flatten)]
    pub kernel: Kernel,
    /// Refuse if the build directory is not that of the kernel which runs here
    #[arg(long)]
    pub running: bool,
}

/// Flags of `explain`.
#[derive(Args)]
pub struct Explain {
    /// The patches.
    #[command(flatten)]
    pub patches: Patches,
    /// The kernel.
    #[command(flatten)]
    pub kernel: Kernel,
    /// Also count how often each function is on the stacks of this system, looking N times; the
    /// kernel has to be the one that runs here
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "50")]
    pub sample: Option<u32>,
}
