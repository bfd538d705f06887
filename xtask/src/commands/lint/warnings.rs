// SPDX-License-Identifier: GPL-2.0
//! `make W=1`, over our C files.

use crate::commands::lint::tree::Tree;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::Result;
use std::path::{Path, PathBuf};
use steps::step::Step;

/// The directory whose files Kbuild compiles one by one. Others of ours are included elsewhere.
const DIRECTORY: &str = "kernel/livepatch";

/// Checks that the compiler has no warning with `W=1`. The kernel is up to date, so that the other
/// flags make it compile the files again.
pub fn check(cx: &Context, kernel: &Kernel, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let objects = objects(&tree.files(&["c"])?);
        let name = kernel.target.name;
        let run = |title: String, level: &str| {
            let mut command = kernel.make(cx)?;
            command.args([level]).args(&objects);
            let step = Step::new(cx, &title, command);
            step.hint("mend what it warns of").run().map(drop)
        };
        // `e` makes errors of the warnings.
        let checked = run(format!("Compile {name}'s C code with W=1"), "W=1e");
        // Leave the objects as the next build wants them.
        run(format!("Compile {name}'s C code as before"), "W=")?;
        checked
    };
    Tally::check(check())
}

fn objects(sources: &[PathBuf]) -> Vec<PathBuf> {
    let compiled = sources.iter().filter(|file| file.starts_with(DIRECTORY));
    let object = |file: &PathBuf| Path::new(file).with_extension("o");
    compiled.map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compiled_on_its_own_has_an_object() {
        let sources = ["kernel/livepatch/linux/a.c", "rust/helpers/b.c"].map(PathBuf::from);
        assert_eq!(objects(&sources), [Path::new("kernel/livepatch/linux/a.o")]);
    }
}
