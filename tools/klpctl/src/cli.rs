// SPDX-License-Identifier: GPL-2.0
//! Every command and flag, in one place.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// See, load, unload and wait for the live patches of a running kernel
///
/// A live patch is a kernel module. When it is loaded, a transition begins: each task moves over to
/// the new functions when it is in none of them. The transition is over when the last task has
/// moved.
///
/// A first session: `klpctl load FILE.ko` loads a live patch and waits for its transition; `klpctl
/// list` shows it; `klpctl unload NAME` takes it back.
#[derive(Parser, Debug)]
#[command(
    name = "klpctl",
    version,
    max_term_width = 100,
    after_help = "Most commands need root. Exit codes: klpctl man, or man klpctl."
)]
pub struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Say in a few lines how it stands, and what to do next; the exit code tells a script
    Status,
    /// List the live patches that are loaded, and those that are installed
    List {
        /// Show the patched functions, and where each patch comes from
        #[arg(short, long)]
        verbose: bool,
    },
    /// Show where a live patch comes from, and for which kernel it is
    Info {
        /// The file of a module, or the name of an installed or loaded live patch
        #[arg(value_name = "FILE|NAME")]
        patch: String,
    },
    /// Load a live patch, and wait until every task has moved over to it
    Load {
        /// The file of a module, or the name of an installed live patch
        #[arg(value_name = "FILE|NAME", required_unless_present = "all")]
        patch: Option<String>,
        /// Load every live patch that is installed for this kernel
        #[arg(long, conflicts_with = "patch")]
        all: bool,
        /// How long to wait.
        #[command(flatten)]
        patience: Patience,
    },
    /// Take a live patch back, wait until no task uses it, and unload its module
    ///
    /// A transition that is still going on is turned round.
    Unload {
        /// The live patch
        #[arg(value_name = "NAME", required_unless_present = "all")]
        patch: Option<String>,
        /// Unload every live patch, the newest first
        #[arg(long, conflicts_with = "patch")]
        all: bool,
        /// How long to wait.
        #[command(flatten)]
        patience: Patience,
    },
    /// Wait for a transition to end, and show what it waits for
    Wait {
        /// The live patch [default: the one in transition]
        #[arg(value_name = "NAME")]
        patch: Option<String>,
        /// How long to wait.
        #[command(flatten)]
        patience: Patience,
    },
    /// Show which tasks a transition waits for, and what keeps each of them
    Why {
        /// The live patch [default: the one in transition]
        #[arg(value_name = "NAME")]
        patch: Option<String>,
        /// Show the stack of each task
        #[arg(short, long)]
        verbose: bool,
    },
    /// Show what happened to live patches since the boot, from the kernel's log
    History {
        /// Only what happened to this live patch
        #[arg(value_name = "NAME")]
        patch: Option<String>,
    },
    /// End a transition without waiting for the tasks that are left; asks first
    ///
    /// Tasks inside the patched functions go on with the old code and call the new. This may corrupt
    /// data or crash the machine. The module of a live patch that is being taken back or replaced
    /// can't be unloaded before the next boot.
    Force {
        /// The live patch in transition
        #[arg(value_name = "NAME")]
        patch: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Keep a live patch, to be loaded at each boot of its kernel
    Install {
        /// The file of a module
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Keep a live patch no longer; one that is loaded stays loaded
    Uninstall {
        /// The live patch
        #[arg(value_name = "NAME")]
        patch: String,
        /// The release of the kernel that it is for [default: the running one]
        #[arg(long, value_name = "RELEASE")]
        kernel: Option<String>,
    },
    /// Load what is installed for this kernel; the systemd unit runs this
    ///
    /// The word klpctl.boot=0 on the kernel's command line makes it load nothing.
    Boot {
        /// How long to wait.
        #[command(flatten)]
        patience: Patience,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, in troff
    Man,
}

/// How long to wait.
#[derive(Args, Clone, Copy, Debug)]
pub struct Patience {
    /// Wait so many seconds for the transition; 0 does not wait. Afterwards it goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u32,
}
