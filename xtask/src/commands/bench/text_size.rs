// SPDX-License-Identifier: GPL-2.0
//! The size of a core's code, from its objects.

use crate::commands::bench::figures::Samples;
use crate::kernel::build::Kernel;
use anyhow::{Context as _, Result};
use object::{Object, ObjectSection, SectionKind};
use std::fs;

/// Adds up the code in all objects of the kernel's livepatch core.
pub fn measure(kernel: &Kernel) -> Result<Samples> {
    let mut total = 0;
    for path in kernel.core_objects()? {
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
