// SPDX-License-Identifier: GPL-2.0
//! Adds the contents of a conformance guest to an ordinary one: the script, its modules and its
//! program.

use super::relocations;
use crate::build::Kernel;
use crate::context::Context;
use crate::guest::{self, Archive, Userspace};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::PathBuf;

/// Where the script looks for the modules and the program, below the root.
const PLACE: &str = "conformance";

/// The module that gets livepatch relocations.
const RELOCATIONS: &str = "conformance_relocations.ko";

/// Builds the initramfs of a conformance guest on top of the ordinary one.
pub fn initramfs(cx: &Context, kernel: &Kernel) -> Result<PathBuf> {
    let base = guest::initramfs(cx, kernel, Userspace::Small)?;
    let dir = cx.cache.join("guest").join(guest::key(kernel));
    let _lock = cx.lock(&format!("conformance-{}", guest::key(kernel)))?;
    let work = dir.join(PLACE);
    guest::mirror(&cx.root.join("tests/guest/conformance"), &work)?;
    let modules = work.join("modules");
    guest::make_modules(
        cx,
        kernel,
        &modules,
        "Build the conformance suite's modules",
    )?;
    let mut archive = Archive::on_top_of(&base, &dir.join("conformance.cpio"))?;
    archive.copy("guest/conformance", &work.join("run"))?;
    let program = guest::compile(cx, kernel, &work.join("vectors.c"))?;
    archive.copy(&format!("{PLACE}/{}", guest::name(&program)), &program)?;
    for path in guest::objects(&modules)? {
        let name = guest::name(&path);
        let mut module =
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if name == RELOCATIONS {
            module = relocations::convert(&module)
                .with_context(|| format!("cannot make livepatch relocations in {name}"))?;
        }
        archive.file(&format!("{PLACE}/{name}"), 0o644, &module)?;
    }
    archive.finish()
}
