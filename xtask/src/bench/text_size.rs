// SPDX-License-Identifier: GPL-2.0
//! The size of a core's code, from its objects.

use super::figures::Samples;
use crate::build::Kernel;
use anyhow::{Context as _, Result};
use object::{Object, ObjectSection, SectionKind};
use std::fs;
use std::path::{Path, PathBuf};

/// Where both cores are, below the object directory.
const PLACE: &str = "kernel/livepatch";

/// Adds up the code in all objects that the kernel's makefile made there.
pub fn measure(kernel: &Kernel) -> Result<Samples> {
    let mut total = 0;
    for path in objects(&kernel.out.join(PLACE))? {
        let data = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*data)
            .with_context(|| format!("{} is no object", path.display()))?;
        let code = file.sections().filter(|s| s.kind() == SectionKind::Text);
        total += code.map(|section| section.size()).sum::<u64>();
    }
    let mut samples = Samples::default();
    samples.add("text", 0, total);
    Ok(samples)
}

/// The objects that belong to the kernel as it was last configured: those that make's own record of the
/// archive names.
fn objects(dir: &Path) -> Result<Vec<PathBuf>> {
    let record = dir.join(".built-in.a.cmd");
    let text =
        fs::read_to_string(&record).with_context(|| format!("cannot read {}", record.display()))?;
    let names = text.split_whitespace().filter(|word| word.ends_with(".o"));
    let mut paths: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| path.exists());
    Ok(paths)
}
