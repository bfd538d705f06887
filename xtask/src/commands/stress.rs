// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask stress`: calls functions on every CPU while live patches come and go, and checks
//! that each call got a possible version.

use crate::commands::cli;
use crate::guest::suite::{Suite, View};
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, modules};
use crate::kernel::build;
use crate::kernel::flavour::Flavour;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use anyhow::Result;
use console::style;
use std::path::PathBuf;
use std::time::Duration;

/// The name of the suite.
pub const NAME: &str = "stress";

/// How many minutes it runs as one of the tests.
pub const MINUTES_IN_TEST: u32 = 1;

/// The time besides the requested minutes: to boot, to show that a wrong result would be noticed,
/// and to wait for the last transition.
const OVERHEAD: Duration = Duration::from_secs(10 * 60);

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Stress) -> Result<()> {
    let cli::Build { arch, core } = args.kernel;
    // Use the kernel with BPF if there is one, so that everything that can happen does happen.
    let flavour = match arch.bpf {
        true => Flavour::Bpf,
        false => Flavour::Plain,
    };
    let kernel = build::kernel_of(cx, arch, core, flavour)?;
    let tally = of(cx, &kernel, args.minutes, View::Story)?;
    println!("{tally}");
    tally::conclude(tally.failed())
}

/// Runs the suite for this many minutes on one kernel.
pub fn of(cx: &Context, kernel: &Kernel, minutes: u32, view: View) -> Result<Tally> {
    let about = "calls from every CPU while patches, modules, BPF programs and CPUs come and go";
    let suite = Suite {
        // The minutes pass on the guest's clock, which is slow if the guest is emulated on a busy
        // host.
        deadline: OVERHEAD + Duration::from_secs(5 * 60) * minutes,
        // Not every kernel has BPF, and not every kernel can take CPUs offline. The kernel with BPF
        // can do both.
        may_skip: kernel.flavour != Flavour::Bpf,
        ..Suite::new(NAME, about, 0)
    };
    let initramfs = initramfs(cx, kernel, minutes)?;
    let core = kernel.core.name();
    let title = format!(
        "{NAME} on {} with the {core}: {}",
        kernel.target.name, suite.about
    );
    println!("\n{}", style(title).bold());
    Ok(suite.run_in(cx, kernel, &initramfs, view)?.tally())
}

/// Builds an initramfs with the modules and the program.
fn initramfs(cx: &Context, kernel: &Kernel, minutes: u32) -> Result<PathBuf> {
    let base = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build the stress test's modules";
    initramfs::extended(cx, kernel, &base, (NAME, NAME), title, |archive, work| {
        archive.copy_all(NAME, &modules::objects(&work.join("modules"))?)?;
        archive.copy_all(NAME, &[modules::compile_directory(cx, kernel, work)?])?;
        let minutes = format!("{minutes}\n");
        archive.file(&format!("{NAME}/minutes"), 0o644, minutes.as_bytes())
    })
}
