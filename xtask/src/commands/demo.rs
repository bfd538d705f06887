// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask demo`: live patches a running kernel, start to finish.

use crate::commands::cli;
use crate::guest::ktap::Report;
use crate::guest::qemu::Finished;
use crate::guest::suite::{self, Outcome, Suite, View, DEMO};
use crate::kernel::build;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use anyhow::{bail, Result};
use console::style;
use std::time::{Duration, Instant};

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Demo) -> Result<()> {
    let start = Instant::now();
    let cli::Build { arch, core } = args.kernel;
    let kernel = build::kernel(cx, arch, core)?;
    println!(
        "Booting Linux {} with the {} core ...",
        kernel.release()?,
        kernel.core
    );
    let suite = match args.sample {
        None => DEMO,
        Some(sample) => Suite {
            append: format!("sample={}", sample.name()).leak(),
            ..*suite::find("samples")?
        },
    };
    let Outcome { report, end } = suite.run(cx, &kernel, View::Story)?;
    let end = end?;
    summary(&kernel, &report, &end, start.elapsed())?;
    match args.sample {
        None => println!("  edit core/src/, and run the demo again"),
        Some(sample) => println!("  read samples/{}/README.md", sample.name()),
    }
    let failed = report.failed();
    if failed > 0 {
        bail!(
            "{failed} of the demo's steps did not hold; full log: {}\n\
             next: look around in the guest with `cargo xtask boot --arch {} --core {} --shell`",
            end.log.display(),
            kernel.target.name,
            kernel.core
        );
    }
    Ok(())
}

fn summary(kernel: &Kernel, report: &Report, end: &Finished, whole: Duration) -> Result<()> {
    let Finished { took, log, .. } = end;
    let held = report.passed();
    println!("\n{}", style("Summary").bold());
    if report.failed() == 0 {
        println!(
            "  Functions of a running Linux {} kernel were replaced and put back by the {}.",
            kernel.release()?,
            kernel.core.name()
        );
    }
    println!("  {held} of {} steps held", held + report.failed());
    println!(
        "  {:.1} s from power-on to power-off, {:.0} s in all",
        took.as_secs_f32(),
        whole.as_secs_f32()
    );
    println!("  the guest's full log: {}", log.display());
    println!("Go on with");
    println!("  cargo xtask boot --shell   a shell in such a guest");
    println!("  cargo xtask test           the host's tests and the guest's");
    Ok(())
}
