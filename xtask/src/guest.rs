// SPDX-License-Identifier: GPL-2.0
//! Builds the initramfs of a guest: a userspace, the scripts of `tests/guest/`, and modules built
//! for exactly this kernel.

mod archive;
mod modules;
mod userspace;

use crate::build::Kernel;
use crate::context::Context;
use anyhow::Result;
use std::path::PathBuf;

pub use archive::Archive;
pub use modules::{
    compile, compile_directory, files, make_modules, mirror, mirror_suite, name, objects,
};
pub use userspace::Userspace;

/// Where the guest looks for its scripts, below the root.
const SCRIPTS: &str = "guest";
/// Where it looks for modules.
const MODULES: &str = "modules";
/// Where it looks for upstream's selftests.
const SELFTESTS: &str = "selftests/livepatch";

/// Builds the initramfs for a kernel.
pub fn initramfs(cx: &Context, kernel: &Kernel, userspace: Userspace) -> Result<PathBuf> {
    let key = key(kernel);
    let dir = cx.cache.join("guest").join(&key);
    let _lock = cx.lock(&format!("guest-{key}"))?;
    let base = userspace::base(cx, kernel.target, userspace)?;
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{}.cpio", userspace.name())))?;
    let scripts = cx.root.join("tests/guest");
    archive.copy("init", &scripts.join("init"))?;
    for script in modules::files(&scripts)? {
        archive.copy(&format!("{SCRIPTS}/{}", modules::name(&script)), &script)?;
    }
    for module in modules::built(cx, kernel, &dir)? {
        archive.copy(&format!("{MODULES}/{}", modules::name(&module)), &module)?;
    }
    if userspace == Userspace::Full {
        archive.copy_tree(SELFTESTS, &modules::selftests(cx, kernel, &dir)?)?;
    }
    archive.finish()
}

/// Builds the initramfs for a suite. A suite that is a directory of `tests/guest/` has its own
/// modules, programs and other files. Its script `run` finds them in the directory with the suite's
/// name.
pub fn suite(cx: &Context, kernel: &Kernel, userspace: Userspace, name: &str) -> Result<PathBuf> {
    let base = initramfs(cx, kernel, userspace)?;
    let sources = cx.root.join("tests/guest").join(name);
    if !sources.is_dir() {
        return Ok(base);
    }
    let key = key(kernel);
    let dir = cx.cache.join("guest").join(&key);
    let _lock = cx.lock(&format!("{name}-{key}"))?;
    let work = mirror_suite(cx, &dir, name)?;
    let made = work.join("modules");
    make_modules(cx, kernel, &made, &format!("Build the modules of {name}"))?;
    let mut own = objects(&made)?;
    // List the sources and not the copy, because the copy also has built files.
    for source in files(&sources)? {
        let copy = work.join(modules::name(&source));
        own.push(match source.extension() {
            Some(extension) if extension == "c" => compile(cx, kernel, &copy)?,
            _ => copy,
        });
    }
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{name}.cpio")))?;
    archive.copy(&format!("{SCRIPTS}/{name}"), &work.join("run"))?;
    for path in own {
        archive.copy(&format!("{name}/{}", modules::name(&path)), &path)?;
    }
    archive.finish()
}

/// Returns the name that tells this kernel's guests from those of other kernels in the cache.
pub fn key(kernel: &Kernel) -> String {
    let name = kernel.out.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
