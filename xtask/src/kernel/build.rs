// SPDX-License-Identifier: GPL-2.0
//! Builds the kernel, from scratch or only what has changed.

use crate::kernel::config::Configuration;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::graft;
use crate::kernel::source::Source;
use crate::kernel::toolchain::Toolchain;
use crate::tools::context::Context;
use crate::tools::step::Step;
use crate::tools::target::Target;
use crate::tools::{place, provision};
use anyhow::{bail, Context as _, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::cmd;

/// A built kernel.
#[derive(Debug)]
pub struct Kernel {
    /// The grafted source.
    pub src: PathBuf,
    /// The object directory.
    pub out: PathBuf,
    /// The bootable image.
    pub image: PathBuf,
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// The target it runs on.
    pub target: &'static Target,
    /// The livepatch core in it.
    pub core: Core,
    /// Its configuration beyond the core.
    pub flavour: Flavour,
    /// The tools it is built with.
    pub tools: Toolchain,
}

impl Kernel {
    /// Returns a `make` command for this kernel, complete except for the goal. It can build
    /// external modules, for example.
    pub fn make(&self, cx: &Context) -> Result<Command> {
        make(
            cx,
            &self.tools,
            self.target,
            self.flavour,
            &self.src,
            &self.out,
        )
    }

    /// Returns the objects of its livepatch core, as the kernel was last configured. They are the
    /// objects named in make's own record of the archive.
    pub fn core_objects(&self) -> Result<Vec<PathBuf>> {
        let dir = self.out.join("kernel/livepatch");
        let record = dir.join(".built-in.a.cmd");
        let text = fs::read_to_string(&record)
            .with_context(|| format!("cannot read {}", record.display()))?;
        let names = text.split_whitespace().filter(|word| word.ends_with(".o"));
        let mut paths: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
        paths.sort();
        paths.dedup();
        paths.retain(|path| path.exists());
        Ok(paths)
    }
}

/// Returns a kernel for that target and with that core.
///
/// Installs what the build needs, then grafts, configures and builds. Work that is up to date is
/// not repeated.
pub fn kernel(cx: &Context, target: &'static Target, core: Core) -> Result<Kernel> {
    kernel_of(cx, target, core, Flavour::Plain)
}

/// Like [`kernel`], for any flavour.
pub fn kernel_of(
    cx: &Context,
    target: &'static Target,
    core: Core,
    flavour: Flavour,
) -> Result<Kernel> {
    if let Some(caveat) = target.caveat() {
        eprintln!("{caveat}");
    }
    let (source, tools) = ready(cx, target, flavour)?;
    let _lock = cx.lock(&graft::lock_name(&source))?;
    graft::graft(cx, &source)?;
    let src = source.linux();
    let out = cx.cache.join("build").join(format!(
        "{}-{}-{core}{}",
        source.key,
        target.name,
        flavour.suffix()
    ));
    if !out.exists() {
        place::room(&out, 2 * place::GIB, "a kernel build")?;
    }
    Configuration {
        src: &src,
        out: &out,
        target,
        core,
        flavour,
    }
    .apply(cx, &tools, || make(cx, &tools, target, flavour, &src, &out))?;
    let mut command = make(cx, &tools, target, flavour, &src, &out)?;
    command.args([target.image_target, "modules"]);
    Step::new(
        cx,
        &format!(
            "Build {} kernel with the {core} core{}",
            target.name,
            flavour.suffix()
        ),
        command,
    )
    .counting(is_compilation)
    .run()?;
    let release = fs::read_to_string(out.join("include/config/kernel.release"))
        .context("the build says no release")?
        .trim()
        .to_owned();
    let image = out.join(target.image);
    if !image.exists() {
        bail!("the build went well, but there is no {}", image.display());
    }
    Ok(Kernel {
        src,
        out,
        image,
        release,
        target,
        core,
        flavour,
        tools,
    })
}

/// Returns the source of a kernel and the toolchain, after installing what the build needs.
pub fn ready(
    cx: &Context,
    target: &'static Target,
    flavour: Flavour,
) -> Result<(Source, Toolchain)> {
    let mut needs = provision::for_build(target);
    if let Some(llvm) = flavour.llvm(target) {
        needs.extend(llvm.needs);
    }
    if flavour == Flavour::Bpf {
        needs.push(provision::PAHOLE);
    }
    provision::ensure(cx, &needs)?;
    let tools = Toolchain::ready(cx)?;
    let source = Source::choose(cx)?;
    let tools = tools.suit(cx, &source.upstream(), target, flavour.llvm(target))?;
    Ok((source, tools))
}

fn make(
    cx: &Context,
    tools: &Toolchain,
    target: &Target,
    flavour: Flavour,
    src: &Path,
    out: &Path,
) -> Result<Command> {
    let mut command = make_with(cx, tools, target, flavour)?;
    command.arg(format!("-j{}", cx.jobs)).arg("-C").arg(src);
    let mut objects = OsString::from("O=");
    objects.push(out);
    command.arg(objects);
    Ok(command)
}

/// Returns a `make` command that lacks only the directories, the goal and the number of jobs. All
/// its arguments are variables, so that `cargo xtask env` can export them to a shell.
pub fn make_with(
    cx: &Context,
    tools: &Toolchain,
    target: &Target,
    flavour: Flavour,
) -> Result<Command> {
    let sh = cx.shell()?;
    let (arch, cross) = (target.kernel_arch, target.cross_compile());
    let make = cmd!(sh, "make ARCH={arch} CROSS_COMPILE={cross}");
    let mut command = Command::from(make);
    if let Some(llvm) = flavour.llvm(target) {
        command.arg(format!("LLVM={}", llvm.suffix()));
    }
    tools.equip(&mut command)?;
    command
        // Fixed values keep the build reproducible: the kernel depends only on the source.
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
        .env("KBUILD_BUILD_USER", "livepatch")
        .env("KBUILD_BUILD_HOST", "xtask");
    Ok(command)
}

/// Whether a line of a kernel build's output reports a build step.
fn is_compilation(line: &str) -> bool {
    line.starts_with("  ") && !line.starts_with("   ")
}
