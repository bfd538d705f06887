// SPDX-License-Identifier: GPL-2.0
//! `klp-diff`: from a patch of the kernel's source to the module of a live patch.

mod cli;

use crate::cli::{Build, Cli, Command, Explain, Kernel};
use anyhow::Result;
use clap::Parser;
use klp_patch::base::Base;
use klp_patch::fix::Fix;
use klp_patch::flags::Asked;
use klp_patch::{explain, output};
use std::process::ExitCode;
use std::time::Instant;
use steps::workplace::Workplace;

fn main() -> ExitCode {
    steps::conclude(run(&Cli::parse()))
}

fn run(Cli { options, command }: &Cli) -> Result<()> {
    let work = options.open()?;
    match command {
        Command::Build(args) => build(&work, args),
        Command::Explain(args) => explain(&work, args),
        Command::Clean(kernel) => klp_patch::forget(&work, &base(&work, kernel)?),
    }
}

fn base(work: &Workplace, kernel: &Kernel) -> Result<Base> {
    Base::of_directory(work, &kernel.build_dir, kernel.tree.as_deref())
}

fn explain(work: &Workplace, args: &Explain) -> Result<()> {
    let fix = Fix::read(&args.patches.patches)?;
    let base = base(work, &args.kernel)?;
    let report = explain::explain(work, &base, &fix, args.sample)?;
    print!("{report}");
    report.conclude()
}

fn build(work: &Workplace, args: &Build) -> Result<()> {
    let start = Instant::now();
    let Asked { fix, order, out } = args.making.read()?;
    let base = base(work, &args.kernel)?;
    if args.running {
        base.check_running()?;
    }
    let module = klp_patch::build(work, &base, &fix, &order)?;
    output::finish(&out, &module, &base, start)
}
