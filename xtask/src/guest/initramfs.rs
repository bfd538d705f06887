// SPDX-License-Identifier: GPL-2.0
//! Builds the initramfs of a guest: a userspace, the scripts of `tests/guest/`, and modules built
//! for exactly this kernel.

use crate::guest::archive::Archive;
use crate::guest::modules;
use crate::guest::userspace::{self, Userspace};
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::provision;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Where the guest looks for its scripts, below the root.
const SCRIPTS: &str = "guest";
/// Where it looks for modules.
const MODULES: &str = "modules";
/// Where it looks for upstream's selftests.
const SELFTESTS: &str = "selftests/livepatch";

/// Where systemd looks for the units of packages, and for the choices of the machine.
pub const UNITS: &str = "usr/lib/systemd/system";
const CHOICES: &str = "etc/systemd/system";
/// The unit that runs the guest's script.
const UNIT: &str = "guest.service";

/// Who there is, as an installed system would say.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
                     nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n";
const GROUPS: &str = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";
/// Without it, systemd takes this for the first boot, and asks questions.
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef\n";

/// Builds the ordinary initramfs for a kernel, after installing what a guest needs.
pub fn base(cx: &Context, kernel: &Kernel, userspace: Userspace) -> Result<PathBuf> {
    provision::ensure(cx, &provision::for_guest(kernel.target))?;
    let dir = dir(cx, kernel);
    let _lock = cx.lock(&lock_name("guest", kernel))?;
    let base = userspace::base(cx, kernel.target, userspace)?;
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{}.cpio", userspace.name())))?;
    let scripts = cx.root.join("tests/guest");
    archive.copy("init", &scripts.join("init"))?;
    archive.file("etc/passwd", 0o644, USERS.as_bytes())?;
    archive.file("etc/group", 0o644, GROUPS.as_bytes())?;
    archive.copy_all(SCRIPTS, &modules::files(&scripts)?)?;
    archive.copy_all(MODULES, &modules::built(cx, kernel, &dir)?)?;
    match userspace {
        Userspace::Small => {}
        Userspace::Full => {
            archive.copy_tree(SELFTESTS, &modules::selftests(cx, kernel, &dir)?)?;
        }
        Userspace::Distribution => {
            archive.copy(
                &format!("{UNITS}/{UNIT}"),
                &scripts.join("systemd").join(UNIT),
            )?;
            enable(&mut archive, UNIT)?;
            let usual = format!("/{UNITS}/multi-user.target");
            archive.link(&format!("{CHOICES}/default.target"), &usual)?;
            archive.file("etc/machine-id", 0o444, MACHINE_ID.as_bytes())?;
            // The console is the script's.
            archive.link(&format!("{CHOICES}/getty.target"), "/dev/null")?;
        }
    }
    archive.finish()
}

/// Has systemd start a unit at boot, as `systemctl enable` does.
pub fn enable(archive: &mut Archive, unit: &str) -> Result<()> {
    let wants = format!("{CHOICES}/multi-user.target.wants/{unit}");
    archive.link(&wants, &format!("/{UNITS}/{unit}"))
}

/// Builds the initramfs for a suite. A suite that is a directory of `tests/guest/` has its own
/// modules, programs and other files. Its script `run` finds them in the directory with the suite's
/// name.
pub fn suite(cx: &Context, kernel: &Kernel, userspace: Userspace, name: &str) -> Result<PathBuf> {
    let sources = cx.root.join("tests/guest").join(name);
    if !sources.is_dir() {
        return base(cx, kernel, userspace);
    }
    let title = format!("Build the modules of {name}");
    let base = base(cx, kernel, userspace)?;
    extended(cx, kernel, &base, (name, name), &title, |archive, work| {
        archive.copy_all(name, &modules::objects(&work.join("modules"))?)?;
        // List the sources and not the copy, because the copy also has built files.
        for source in modules::files(&sources)? {
            let mut path = work.join(modules::name(&source));
            if path.extension() == Some("c".as_ref()) {
                path = modules::compile(cx, kernel, &path)?;
            }
            archive.copy_all(name, &[path])?;
        }
        Ok(())
    })
}

/// Extends an initramfs by the directory `name` of `tests/guest/`: its script `run`, which the
/// guest calls `script`, and what `fill` adds. `fill` gets the copy of the directory, in which the
/// modules are built already. `title` says so to the user.
pub fn extended(
    cx: &Context,
    kernel: &Kernel,
    base: &Path,
    (name, script): (&str, &str),
    title: &str,
    fill: impl FnOnce(&mut Archive, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let dir = dir(cx, kernel);
    let _lock = cx.lock(&lock_name(name, kernel))?;
    let work = modules::mirror_suite(cx, &dir, name)?;
    if work.join("modules").is_dir() {
        modules::make(cx, kernel, &work.join("modules"), title)?;
    }
    let mut archive = Archive::on_top_of(base, &dir.join(format!("{script}.cpio")))?;
    archive.copy(&format!("{SCRIPTS}/{script}"), &work.join("run"))?;
    fill(&mut archive, &work)?;
    archive.finish()
}

/// Returns the directory in the cache for this kernel's guests.
pub fn dir(cx: &Context, kernel: &Kernel) -> PathBuf {
    cx.cache.join("guest").join(key(kernel))
}

/// Returns the name of the lock for a part of this kernel's guests.
pub fn lock_name(part: &str, kernel: &Kernel) -> String {
    format!("{part}-{}", key(kernel))
}

/// Returns the name that tells this kernel's guests from those of other kernels in the cache.
fn key(kernel: &Kernel) -> String {
    modules::name(&kernel.out)
}
