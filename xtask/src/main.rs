// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask`: from a clone of this repository to a kernel that the Rust core live patches.
//!
//! | module | concern |
//! |---|---|
//! | [`cli`] | every command and flag |
//! | [`context`] | where things are: checkout, cache, logs, locks |
//! | [`step`] | running one external program: progress, log, deadline |
//! | [`target`] | the table of architectures |
//! | [`cargo`] | running cargo on the workspace |
//! | [`provision`], [`apt`], [`toolchain`], [`tool`], [`doctor`] | what the machine needs, and getting it |
//! | [`place`] | filling the cache, whole entries only |
//! | [`source`] | the kernel source |
//! | [`graft`], [`series`] | our crates and patches in a scratch copy of it |
//! | [`config`], [`build`] | configuring and building it |
//! | [`env`] | building it by hand, with the same tools |
//! | [`clean`] | giving disk space back |
//! | [`guest`] | what a guest is made of |
//! | [`klp`] | marking relocations as a live patch's |
//! | [`qemu`] | booting it, and how that ended |
//! | [`ktap`], [`suite`] | running a script in it, and reading what it reports |
//! | [`demo`], [`boot`], [`test`], [`parity`], [`conformance`], [`stress`], [`bench`] | the commands that boot |
//! | [`verify`] | model checking, loom, mutants, properties, sanitizers |

mod apt;
mod bench;
mod boot;
mod build;
mod cargo;
mod clean;
mod cli;
mod config;
mod conformance;
mod context;
mod demo;
mod doctor;
mod env;
mod graft;
mod guest;
mod klp;
mod ktap;
mod parity;
mod place;
mod provision;
mod qemu;
mod series;
mod source;
mod step;
mod stress;
mod suite;
mod target;
mod test;
mod tool;
mod toolchain;
mod verify;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &cli::Cli) -> anyhow::Result<()> {
    let cx = context::Context::new(cli)?;
    match &cli.command {
        cli::Command::Doctor(args) => doctor::run(&cx, args),
        cli::Command::Build(args) => build::run(&cx, args),
        cli::Command::Env(args) => env::run(&cx, args),
        cli::Command::Graft(args) => graft::run(&cx, args),
        cli::Command::Demo(args) => demo::run(&cx, args),
        cli::Command::Boot(args) => boot::run(&cx, args),
        cli::Command::Test(args) => test::run(&cx, args),
        cli::Command::Parity(args) => parity::run(&cx, args),
        cli::Command::Verify(args) => verify::run(&cx, args),
        cli::Command::Conformance(args) => conformance::run(&cx, args),
        cli::Command::Stress(args) => stress::run(&cx, args),
        cli::Command::Bench(args) => bench::run(&cx, args),
        cli::Command::Clean(args) => clean::run(&cx, args),
    }
}
