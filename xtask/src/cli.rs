// SPDX-License-Identifier: GPL-2.0
//! Every command and flag, in one place.

use crate::build::Core;
use crate::target::{self, Target};
use crate::verify::Part;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Build, boot and test the Rust livepatch core.
///
/// Start with `cargo xtask demo`: it installs what is missing (or prints the one command that does),
/// takes the kernel source, builds it with the Rust core and live patches it while it runs.
/// Downloads and builds go to a cache outside the checkout; `cargo xtask clean --cache` frees it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args)]
pub struct Global {
    /// Checkout of Linux 7.3 to use; it is copied, never changed [default: Debian's source package]
    #[arg(long, global = true, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Where sources, tools, builds and logs are kept
    /// [default: $XDG_CACHE_HOME/livepatch-rust, else ~/.cache/livepatch-rust]
    #[arg(long, global = true, value_name = "DIR", env = "LIVEPATCH_RUST_CACHE")]
    pub cache_dir: Option<PathBuf>,
    /// Jobs that run at the same time [default: one per CPU]
    #[arg(short, long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Live patch a running kernel with the Rust core, start to finish
    Demo(Demo),
    /// Boot a kernel with the Rust core, to play with
    Boot(Boot),
    /// Run the host tests, then the guest's
    Test(Test),
    /// Run the same scenarios on the C core and on the Rust core, and compare line by line
    Parity(Parity),
    /// Prove the consistency model: model checker, loom, mutants, properties, sanitizers
    Verify(Verify),
    /// Exercise every capability that an architecture's backend claims
    Conformance(Conformance),
    /// Call what is patched from every CPU while patches, modules, BPF programs and CPUs come and go, and
    /// count wrong results
    Stress(Stress),
    /// Measure the C core and the Rust core side by side: a table, JSON and plots
    Bench(Bench),
    /// Build the kernel, without booting it
    Build(Build),
    /// Put the crates and patches onto the kernel source, and say where that is
    Graft(Graft),
    /// Print what to export in a shell before `make` is run there by hand: `eval "$(cargo xtask env)"`
    Env(Env),
    /// List what is installed, what is missing and how to get it
    Doctor(Doctor),
    /// Remove built kernels, or everything that was cached
    Clean(Clean),
}

/// Which kernel: the architecture it is for and the core in it.
#[derive(Args, Clone, Copy)]
pub struct Build {
    /// Architecture of the kernel
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Livepatch core in it
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
}

/// Flags of `demo`.
#[derive(Args)]
pub struct Demo {
    /// The kernel to show it on.
    #[command(flatten)]
    pub kernel: Build,
}

/// Flags of `boot`.
#[derive(Args)]
pub struct Boot {
    /// The kernel to boot.
    #[command(flatten)]
    pub kernel: Build,
    /// Open a shell in the guest
    #[arg(long)]
    pub shell: bool,
    /// More for the kernel's command line, such as `livepatch.settle=0`
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    pub append: String,
}

/// Flags of `test`.
#[derive(Args)]
pub struct Test {
    /// Only the host's tests
    #[arg(long, conflicts_with = "guest")]
    pub host: bool,
    /// Only this suite of the guest's: `smoke`, `kselftest`, `neighbours`, `settle`, `regressions`,
    /// `conformance`, `stress`,
    /// or with `--debug-kernel` the `scenarios` of `parity`
    #[arg(long, value_name = "SUITE")]
    pub guest: Option<String>,
    /// Architectures to test: a name, or `all`
    #[arg(long, default_value = target::DEFAULT, value_name = "ARCH")]
    pub arch: target::Selection,
    /// Livepatch core in the guest
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
    /// Run the guest's suites on a kernel with KASAN, lockdep, kmemleak and the like: many times slower
    #[arg(long, conflicts_with = "host")]
    pub debug_kernel: bool,
}

/// Flags of `parity`.
#[derive(Args)]
pub struct Parity {
    /// Architecture of both kernels
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// What the random sequences are made from: the same seed makes the same ones
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// How many random sequences
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub sequences: usize,
    /// Only this scenario, or one of the groups `scenarios` (on the usual kernel), `starved` (allocations
    /// fail), `sequences` (random), `kselftest` and `neighbours` (on a kernel with BPF where there is one);
    /// may be given several times
    #[arg(long, value_name = "NAME")]
    pub scenario: Vec<String>,
    /// Leave out upstream's selftests
    #[arg(long)]
    pub no_kselftest: bool,
}

/// Flags of `verify`.
#[derive(Args)]
pub struct Verify {
    /// Only these parts, in this order [default: all]
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<Part>,
    /// How many random inputs each property gets
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub cases: u64,
}

/// Flags of `conformance`.
#[derive(Args)]
pub struct Conformance {
    /// The kernel to exercise.
    #[command(flatten)]
    pub kernel: Build,
}

/// Flags of `stress`.
#[derive(Args)]
pub struct Stress {
    /// The kernel to stress.
    #[command(flatten)]
    pub kernel: Build,
    /// For how long patches come and go
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub minutes: u32,
}

/// Flags of `bench`.
#[derive(Args)]
pub struct Bench {
    /// Architecture of both kernels
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Only these figures: `calls`, `patches`, `tasks` or `size`; may be given several times
    #[arg(long, value_enum, value_name = "GROUP")]
    pub only: Vec<crate::bench::Group>,
    /// Where the table, the JSON and the plots are left [default: beside the logs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `graft`.
#[derive(Args)]
pub struct Graft {
    /// Leave a whole tree with the series applied in this new directory, instead of the cache
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `env`.
#[derive(Args)]
pub struct Env {
    /// Architecture of the kernels to be made in that shell
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
}

/// Flags of `doctor`.
#[derive(Args)]
pub struct Doctor {
    /// Architecture to look after
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Get what is missing
    #[arg(long)]
    pub fix: bool,
}

/// Flags of `clean`.
#[derive(Args)]
pub struct Clean {
    /// Remove sources, tools and logs too, and say what each freed
    #[arg(long)]
    pub cache: bool,
}
