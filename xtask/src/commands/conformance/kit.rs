// SPDX-License-Identifier: GPL-2.0
//! Adds the contents of a conformance guest to an ordinary one: the script, its modules and its
//! program.

use crate::commands::conformance::relocations;
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, modules};
use crate::kernel::build::Kernel;
use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::PathBuf;

/// Where the script looks for the modules and the program, below the root.
const PLACE: &str = "conformance";

/// The module that gets livepatch relocations.
const RELOCATIONS: &str = "conformance_relocations.ko";

/// Builds the initramfs of a conformance guest on top of the ordinary one.
pub fn initramfs(cx: &Context, kernel: &Kernel) -> Result<PathBuf> {
    let base = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build the conformance suite's modules";
    initramfs::extended(cx, kernel, &base, (PLACE, PLACE), title, |archive, work| {
        archive.copy_all(
            PLACE,
            &[modules::compile(cx, kernel, &work.join("vectors.c"))?],
        )?;
        for path in modules::objects(&work.join("modules"))? {
            let name = modules::name(&path);
            let mut module =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if name == RELOCATIONS {
                module = relocations::convert(&module)
                    .with_context(|| format!("cannot make livepatch relocations in {name}"))?;
            }
            archive.file(&format!("{PLACE}/{name}"), 0o644, &module)?;
        }
        Ok(())
    })
}
