// SPDX-License-Identifier: GPL-2.0
//! Adds the contents of a parity guest to an ordinary one: the player, its script, and the modules
//! it loads.

use crate::commands::parity::elf;
use crate::guest::archive::Archive;
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, modules};
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use steps::{place, step};
use xshell::cmd;

/// Where the player looks for its script and its modules, below the root.
const PLACE: &str = "parity";

/// Builds an initramfs on top of the ordinary one of that size with the files of the suite `entry`.
/// The file `entry` of `tests/guest/parity/` runs as `/guest/<name>`. If `script` is not empty, the
/// player, the script and its modules are added.
pub fn initramfs(
    cx: &Context,
    kernel: &Kernel,
    userspace: Userspace,
    (entry, name): (&str, &str),
    script: &str,
) -> Result<PathBuf> {
    let base = initramfs::suite(cx, kernel, userspace, entry)?;
    let dir = initramfs::dir(cx, kernel);
    let sources = cx.root.join("tests/guest/parity");
    let _lock = cx.lock(&initramfs::lock_name(PLACE, kernel))?;
    let mut archive = Archive::on_top_of(&base, &dir.join(format!("{name}.cpio")))?;
    archive.copy(&format!("guest/{name}"), &sources.join(entry))?;
    if !script.is_empty() {
        archive.copy(
            &format!("{PLACE}/player"),
            &player(cx, kernel, &sources, &dir)?,
        )?;
        archive.file(&format!("{PLACE}/scenarios"), 0o644, script.as_bytes())?;
        add_modules(cx, kernel, &sources, &dir, &mut archive)?;
    }
    archive.finish()
}

/// Compiles the player. It is static, so it depends on nothing in the guest.
fn player(cx: &Context, kernel: &Kernel, sources: &Path, dir: &Path) -> Result<PathBuf> {
    let mut files = modules::files(sources)?;
    files.retain(|path| path.extension() == Some("c".as_ref()));
    let program = dir.join("parity-player");
    let sh = cx.shell()?;
    let gcc = format!("{}gcc", kernel.target.cross_compile());
    let command = cmd!(
        sh,
        "{gcc} -static -O2 -Wall -Wextra -o {program} {files...}"
    );
    step::run(cx, "Compile the parity player", command)?;
    Ok(program)
}

/// Adds the scenarios' modules: the modules as built, and the rewritten ones.
fn add_modules(
    cx: &Context,
    kernel: &Kernel,
    sources: &Path,
    dir: &Path,
    archive: &mut Archive,
) -> Result<()> {
    let work = dir.join("parity");
    modules::mirror(&sources.join("modules"), &work)?;
    modules::make(cx, kernel, &work, "Build the parity scenarios' modules")?;
    archive.copy_all(PLACE, &modules::objects(&work)?)?;
    let read = |name: &str| -> Result<Vec<u8>> {
        let path = work.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let none = elf::rename_module(&read("parity_none.ko")?, "parity_none", "vmlinux")?;
    archive.file(&format!("{PLACE}/vmlinux.ko"), 0o644, &none)?;
    let built = read("parity_rela.ko")?;
    for variant in elf::VARIANTS {
        let module = variant
            .make(&built)
            .with_context(|| format!("cannot make {}.ko", variant.file))?;
        archive.file(&format!("{PLACE}/{}.ko", variant.file), 0o644, &module)?;
    }
    Ok(())
}

/// Writes the transcript of one core among the logs, and returns its path.
pub fn leave(cx: &Context, name: &str, kernel: &Kernel, text: &str) -> Result<PathBuf> {
    let file = format!("{name}-{}-{}.transcript", kernel.target.name, kernel.core);
    let path = cx.logs().join(file);
    place::remove(&path)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
