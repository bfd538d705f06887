// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask stress`: calls functions on every CPU while live patches come and go, and checks
//! that each call got a possible version.

use crate::build::{self, Flavour, Kernel};
use crate::cli;
use crate::context::Context;
use crate::guest::{self, Archive, Userspace};
use crate::provision;
use crate::suite::{self, Suite, View};
use crate::test::Tally;
use anyhow::Result;
use console::style;
use std::borrow::Cow;
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
    if tally.failed() > 0 {
        // Exit without an error message: the failures are explained above, and the counts stay the
        // last line.
        std::process::exit(1);
    }
    Ok(())
}

/// Runs the suite for this many minutes on one kernel.
pub fn of(cx: &Context, kernel: &Kernel, minutes: u32, view: View) -> Result<Tally> {
    let suite = Suite {
        name: NAME,
        about: "calls from every CPU while patches, modules, BPF programs and CPUs come and go",
        userspace: Userspace::Small,
        append: Cow::Borrowed(""),
        // The minutes pass on the guest's clock, which is slow if the guest is emulated on a busy
        // host.
        deadline: OVERHEAD + Duration::from_secs(5 * 60) * minutes,
        // Not every kernel has BPF, and not every kernel can take CPUs offline. The kernel with BPF
        // can do both.
        may_skip: kernel.flavour != Flavour::Bpf,
    };
    provision::ensure(cx, &provision::for_guest(kernel.target))?;
    let initramfs = initramfs(cx, kernel, minutes)?;
    let core = suite::core_name(kernel.core);
    let title = format!(
        "{NAME} on {} with the {core}: {}",
        kernel.target.name, suite.about
    );
    println!("\n{}", style(title).bold());
    Ok(Tally::of(suite.run_in(cx, kernel, &initramfs, view)?))
}

/// Builds an initramfs with the modules and the program.
fn initramfs(cx: &Context, kernel: &Kernel, minutes: u32) -> Result<PathBuf> {
    let base = guest::initramfs(cx, kernel, Userspace::Small)?;
    let dir = cx.cache.join("guest").join(guest::key(kernel));
    let _lock = cx.lock(&format!("{NAME}-{}", guest::key(kernel)))?;
    let work = guest::mirror_suite(cx, &dir, NAME)?;
    let modules = work.join("modules");
    guest::make_modules(cx, kernel, &modules, "Build the stress test's modules")?;
    let program = guest::compile_directory(cx, kernel, &work)?;
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{NAME}.cpio")))?;
    archive.copy(&format!("guest/{NAME}"), &work.join("run"))?;
    archive.copy(&format!("{NAME}/{}", guest::name(&program)), &program)?;
    archive.file(
        &format!("{NAME}/minutes"),
        0o644,
        format!("{minutes}\n").as_bytes(),
    )?;
    for path in guest::objects(&modules)? {
        archive.copy(&format!("{NAME}/{}", guest::name(&path)), &path)?;
    }
    archive.finish()
}
