// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask bench`: compares the costs of the C core and the Rust core.
//!
//! Two kernels are built from the same tree and differ only in the core. They run the same modules,
//! one kernel right after the other. The measurements become a table, a JSON file and plots. The
//! ratio of the two cores is what counts, because the machine may be slow or busy.

mod figures;
mod plot;

use crate::commands::bench::figures::{Report, Samples};
use crate::commands::cli::{self, Group};
use crate::guest::qemu::{Boot, Clock};
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, modules};
use crate::kernel::build;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::target::Target;
use anyhow::{bail, Context as _, Result};
use clap::ValueEnum;
use console::style;
use object::{Object, ObjectSection, SectionKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::place;

/// How long one guest may take. The C core needs minutes to disable a patch of 2000 functions.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Bench) -> Result<()> {
    provision::ensure(cx, &[plot::FONT_NEED])?;
    let groups = match args.only.as_slice() {
        [] => Group::value_variants(),
        only => only,
    };
    let flavour = args.config.map_or(Flavour::Plain, |named| named.flavour);
    let c = build::kernel_of(cx, args.arch, Core::C, flavour)?;
    let rust = build::kernel_of(cx, args.arch, Core::Rust, flavour)?;
    let mut report = Report::new(args.arch.name, &rust.release()?);
    for &group in groups {
        let (c, rust) = (measure(cx, &c, group)?, measure(cx, &rust, group)?);
        report.add(group, &c, &rust);
    }
    let dir = match &args.out {
        Some(dir) => dir.clone(),
        None => cx.logs().join("bench"),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    println!("\n{}", style("C core and Rust core, side by side").bold());
    let table = report.table();
    print!("{table}");
    leave(&dir.join("bench.txt"), &table)?;
    leave(&dir.join("bench.json"), &report.json()?)?;
    let plots = plot::all(&report, &dir)?;
    println!(
        "table, JSON and {plots} plots (SVG and PNG each): {}",
        dir.display()
    );
    Ok(())
}

fn leave(path: &Path, text: &str) -> Result<()> {
    place::remove(path)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Measures a group of figures on one kernel.
fn measure(cx: &Context, kernel: &Kernel, group: Group) -> Result<Samples> {
    let (script, clock) = match group {
        Group::Calls => ("bench-calls", Clock::Instructions),
        Group::Patches => ("bench-patches", Clock::Instructions),
        Group::Tasks => ("bench-tasks", Clock::Instructions),
        // CPUs that run in turn would wait a whole turn for each other's interrupts.
        Group::Transitions => ("bench-transitions", Clock::Time),
        Group::Size => return text_size(kernel),
    };
    println!("{script}, {} core", kernel.core);
    let append = match clock {
        Clock::Time => fine_clock(kernel.target),
        Clock::Instructions => String::new(),
    };
    let initramfs = initramfs(cx, kernel, script)?;
    let boot = Boot {
        kernel,
        initramfs: &initramfs,
        script,
        append: &append,
        deadline: DEADLINE,
        // The single write that disables a patch of 2000 functions may be silent for minutes.
        silence: DEADLINE,
        clock,
        monitor: None,
    };
    let mut samples = Samples::default();
    let mut whole = false;
    let end = boot.run(cx, &mut |line| match line {
        "done" => whole = true,
        line => samples.line(line),
    })?;
    if !whole {
        bail!(
            "the guest with the {} core did not get to the end of {script}; see {}",
            kernel.core,
            end.log.display()
        );
    }
    Ok(samples)
}

/// Returns the words on the kernel's command line that give an emulated guest a clock finer than its
/// ticks. An emulated x86 counts the host's cycles, but the guest can't find out how fast they are.
fn fine_clock(target: &Target) -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = cpuinfo.lines().filter(|line| line.starts_with("cpu MHz"));
    let megahertz = lines.next().and_then(|line| line.split(": ").nth(1));
    match megahertz.and_then(|text| text.parse::<f64>().ok()) {
        Some(megahertz) if target.name == "x86_64" => {
            format!("tsc=reliable tsc_early_khz={:.0}", megahertz * 1000.0)
        }
        _ => String::new(),
    }
}

/// Adds up the code in all objects of the kernel's livepatch core.
fn text_size(kernel: &Kernel) -> Result<Samples> {
    let mut total = 0;
    for path in kernel.core_objects()? {
        let data =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*data)
            .with_context(|| format!("{} is no object", path.display()))?;
        let code = file.sections().filter(|s| s.kind() == SectionKind::Text);
        total += code.map(|section| section.size()).sum::<u64>();
    }
    let mut samples = Samples::default();
    samples.add("text", 0, total);
    Ok(samples)
}

/// Builds an initramfs with the benchmark's modules and program. Its script runs as
/// `/guest/<script>`.
fn initramfs(cx: &Context, kernel: &Kernel, script: &str) -> Result<PathBuf> {
    let base = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build the benchmark's modules";
    let names = ("bench", script);
    initramfs::extended(cx, kernel, &base, names, title, |archive, work| {
        archive.copy_all(
            "bench",
            &[modules::compile(cx, kernel, &work.join("bench.c"))?],
        )?;
        archive.copy_all("bench", &modules::objects(&work.join("modules"))?)
    })
}
