// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask bench`: compares the costs of the C core and the Rust core.
//!
//! Two kernels are built from the same tree and differ only in the core. They run the same modules,
//! one kernel right after the other. The measurements become a table, a JSON file and plots. The
//! ratio of the two cores is what counts, because the machine may be slow or busy.

mod figures;
mod plot;
mod text_size;

use crate::build::{self, Core, Kernel};
use crate::cli;
use crate::context::Context;
use crate::guest::{self, Archive, Userspace};
use crate::qemu::{Boot, Clock};
use crate::{place, provision};
use anyhow::{bail, Context as _, Result};
use console::style;
use figures::{Report, Samples};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Instructions per call of a patched function
    Calls,
    /// Time to enable, settle, disable and unload patches of 1 to 2000 functions, and their memory
    Patches,
    /// Attempts to end a transition with 10 to 10000 tasks
    Tasks,
    /// Size of the core's code
    Size,
}

impl Group {
    const ALL: [Self; 4] = [Self::Calls, Self::Patches, Self::Tasks, Self::Size];

    /// Returns the name of the guest's script, which selects what to measure, and the clock to
    /// measure with. Returns `None` if the group needs no guest.
    fn guest(self) -> Option<(&'static str, Clock)> {
        match self {
            Self::Calls => Some(("bench-calls", Clock::Instructions)),
            Self::Patches => Some(("bench-patches", Clock::Time)),
            Self::Tasks => Some(("bench-tasks", Clock::Instructions)),
            Self::Size => None,
        }
    }
}

/// How long one guest may take. The C core needs minutes to disable a patch of 2000 functions.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Bench) -> Result<()> {
    provision::ensure(cx, &[plot::FONT_NEED])?;
    let groups = match args.only.as_slice() {
        [] => Group::ALL.to_vec(),
        only => only.to_vec(),
    };
    let c = build::kernel(cx, args.arch, Core::C)?;
    let rust = build::kernel(cx, args.arch, Core::Rust)?;
    let mut report = Report::new(args.arch.name, &rust.release);
    for group in groups {
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
    let Some((script, clock)) = group.guest() else {
        return text_size::measure(kernel);
    };
    provision::ensure(cx, &provision::for_guest(kernel.target))?;
    println!("{script}, {} core", kernel.core);
    let initramfs = initramfs(cx, kernel, script)?;
    let boot = Boot {
        kernel,
        initramfs: &initramfs,
        script,
        append: "",
        deadline: DEADLINE,
        // The single write that disables a patch of 2000 functions may be silent for minutes.
        silence: DEADLINE,
        clock,
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

/// Builds an initramfs with the benchmark's modules and program. Its script runs as
/// `/guest/<script>`.
fn initramfs(cx: &Context, kernel: &Kernel, script: &str) -> Result<PathBuf> {
    let base = guest::initramfs(cx, kernel, Userspace::Small)?;
    let dir = cx.cache.join("guest").join(guest::key(kernel));
    let _lock = cx.lock(&format!("bench-{}", guest::key(kernel)))?;
    let work = dir.join("bench");
    guest::mirror(&cx.root.join("tests/guest/bench"), &work)?;
    let modules = work.join("modules");
    guest::make_modules(cx, kernel, &modules, "Build the benchmark's modules")?;
    let program = guest::compile(cx, kernel, &work.join("bench.c"))?;
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{script}.cpio")))?;
    archive.copy(&format!("guest/{script}"), &work.join("run"))?;
    archive.copy("bench/bench", &program)?;
    for path in guest::objects(&modules)? {
        archive.copy(&format!("bench/{}", guest::name(&path)), &path)?;
    }
    archive.finish()
}
