// SPDX-License-Identifier: GPL-2.0
//! `klp-diff`: from a patch of the kernel's source to the module of a live patch.

mod cli;

use crate::cli::{Build, Cli, Command, Explain, Kernel};
use anyhow::{Context as _, Result};
use clap::Parser;
use klp_patch::base::Base;
use klp_patch::fix::Fix;
use klp_patch::{explain, output, Order};
use std::process::ExitCode;
use std::time::Instant;
use steps::workplace::Workplace;

fn main() -> ExitCode {
    steps::conclude(run(&Cli::parse()))
}

fn run(Cli { global, command }: &Cli) -> Result<()> {
    let work = Workplace::open(global.cache_dir.as_deref(), global.jobs)?;
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
    let fix = Fix::read(&args.patches)?;
    let base = base(work, &args.kernel)?;
    let report = explain::explain(work, &base, &fix, args.sample)?;
    print!("{report}");
    report.conclude()
}

fn build(work: &Workplace, args: &Build) -> Result<()> {
    let start = Instant::now();
    let first = args.patches.first().context("no patch is named")?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => output::default(first),
    };
    let name = output::name(&out)?;
    let fix = Fix::read(&args.patches)?;
    let base = base(work, &args.kernel)?;
    if args.running {
        base.check_running()?;
    }
    let order = Order {
        name,
        cves: args.cve.clone(),
        builder: args.builder.clone(),
        layouts: args.layout.clone(),
    };
    let module = klp_patch::build(work, &base, &fix, &order)?;
    output::finish(&out, &module, &base, start)
}
