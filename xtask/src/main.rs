// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask`: from a clone of this repository to a kernel that the Rust core live patches.
//!
//! | module | concern |
//! |---|---|
//! | [`cli`] | every command and flag |
//! | [`context`] | paths of checkout, cache and logs; locks |
//! | [`step`] | running one external program: progress, log, deadline |
//! | [`target`] | the table of architectures |
//! | [`cargo`] | running cargo on the workspace |
//! | [`provision`], [`apt`], [`toolchain`], [`tool`], [`doctor`] | installing what is needed |
//! | [`place`] | filling the cache with complete entries |
//! | [`source`] | the kernel source |
//! | [`graft`], [`series`] | putting our crates and patches into a scratch copy of the source |
//! | [`config`], [`build`] | configuring and building a kernel |
//! | [`env`] | building a kernel by hand, with the same tools |
//! | [`clean`] | freeing disk space |
//! | [`guest`] | building a guest's initramfs |
//! | [`klp`] | marking livepatch relocations in a module |
//! | [`qemu`] | booting a guest, and telling how it ended |
//! | [`ktap`], [`suite`] | running a script in a guest, and reading its results |
//! | [`demo`], [`boot`] | showing a guest to the user |
//! | [`test`], [`parity`], [`conformance`], [`stress`], [`bench`] | tests and figures from guests |
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
