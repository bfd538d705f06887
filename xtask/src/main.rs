// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask`: from a clone of this repository to a kernel that the Rust core live patches.
//!
//! | layer | what is in it |
//! |---|---|
//! | [`commands`] | one file per command; every flag |
//! | [`guest`] | building a guest, booting it, reading its results |
//! | [`kernel`] | getting the source, grafting, configuring and building it |
//! | [`tools`] | paths and locks, running programs, installing what is needed, the targets |
//!
//! A file uses files of its own layer and of those below, and no files use each other in a circle.
//! `layers.rs` has the test for it.

mod commands;
mod guest;
mod kernel;
#[cfg(test)]
mod layers;
mod tools;

use crate::commands::cli::{Cli, Command};
use crate::tools::context::Context;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    steps::conclude(run(&Cli::parse()))
}

fn run(Cli { global, command }: &Cli) -> anyhow::Result<()> {
    let mut cx = Context::new(global.tree.as_deref(), global.options.open()?)?;
    cx.newest = global.newest;
    match command {
        Command::Doctor(args) => commands::doctor::run(&cx, args),
        Command::Build(args) => commands::build::run(&cx, args),
        Command::Patch(args) => commands::patch::run(&cx, args),
        Command::Package(args) => commands::package::run(&cx, args),
        Command::Series(args) => commands::series::run(&cx, args),
        Command::Env(args) => commands::env::run(&cx, args),
        Command::Graft(args) => commands::graft::run(&cx, args),
        Command::Demo(args) => commands::demo::run(&cx, args),
        Command::Boot(args) => commands::boot::run(&cx, args),
        Command::Test(args) => commands::test::run(&cx, args),
        Command::Lint(args) => commands::lint::run(&cx, args),
        Command::Parity(args) => commands::parity::run(&cx, args),
        Command::Verify(args) => commands::verify::run(&cx, args),
        Command::Conformance(args) => commands::conformance::run(&cx, args),
        Command::Stress(args) => commands::stress::run(&cx, args),
        Command::Bench(args) => commands::bench::run(&cx, args),
        Command::Clean(args) => commands::clean::run(&cx, args),
    }
}
