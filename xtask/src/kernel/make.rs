// SPDX-License-Identifier: GPL-2.0
//! A kernel, and the `make` that builds it.

use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::toolchain::Toolchain;
use crate::tools::context::Context;
use crate::tools::target::Target;
use anyhow::{Context as _, Result};
use klp_patch::base::Base;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use xshell::cmd;

/// A kernel: what it is made from, with what, and where.
#[derive(Debug)]
pub struct Kernel {
    /// The grafted source.
    pub src: PathBuf,
    /// The object directory.
    pub out: PathBuf,
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
        let mut command = make_with(cx, &self.tools, self.target, self.flavour)?;
        let mut objects = OsString::from("O=");
        objects.push(&self.out);
        command.arg(format!("-j{}", cx.jobs));
        command.arg("-C").arg(&self.src).arg(objects);
        Ok(command)
    }

    /// Returns it as live patches are made for it.
    pub fn base(&self, cx: &Context) -> Result<Base> {
        Ok(Base::of_directory(cx, &self.out, None)?.with_make(self.make(cx)?))
    }

    /// Returns the bootable image.
    pub fn image(&self) -> PathBuf {
        self.out.join(self.target.image)
    }

    /// Returns its release, as `uname -r` prints it.
    pub fn release(&self) -> Result<String> {
        let release = fs::read_to_string(self.out.join("include/config/kernel.release"));
        let release = release.context("the build says no release")?;
        Ok(release.trim().to_owned())
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
    equip(&mut command, tools)?;
    Ok(command)
}

/// Sets up the environment of a kernel build, so that the same source makes the same kernel.
pub fn equip(command: &mut Command, tools: &Toolchain) -> Result<()> {
    tools.equip(command)?;
    command
        // Fixed values keep the build reproducible: the kernel depends only on the source.
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
        .env("KBUILD_BUILD_USER", "livepatch")
        .env("KBUILD_BUILD_HOST", "xtask");
    Ok(())
}
