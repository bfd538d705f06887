// SPDX-License-Identifier: GPL-2.0
//! The documentation, made by the tree's own `make htmldocs`.

use crate::commands::lint::tree::Tree;
use crate::tools::context::Context;
use crate::tools::python::SPHINX;
use crate::tools::tally::Tally;
use anyhow::{bail, Result};
use std::fs;
use std::path::Path;
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// The directory of the documentation that ours is in.
const DIRECTORY: &str = "livepatch";

/// Checks that Sphinx has nothing to say about our documents. It also says whether one is in no
/// table of contents.
pub fn check(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let sphinx = SPHINX.ready(cx)?;
        let (sh, linux) = (cx.shell()?, &tree.linux);
        // Sphinx remembers what it has read, and would say nothing about it.
        let out = cx.cache.join("docs");
        place::remove(&out)?;
        fs::create_dir_all(&out)?;
        let mut command = cmd!(
            sh,
            "make -C {linux} O={out} SPHINXDIRS={DIRECTORY} htmldocs"
        )
        .into();
        sphinx.equip(&mut command)?;
        let log = Step::new(cx, "Make the documentation", command).run()?;
        let text = fs::read_to_string(&log)?;
        let said = ours(&text, &linux.join("Documentation").join(DIRECTORY));
        match said.is_empty() {
            true => Ok(()),
            false => bail!(
                "Sphinx finds faults in our documents\n  {}\nfull log: {}",
                said.join("\n  "),
                log.display()
            ),
        }
    };
    Tally::check(check())
}

/// Returns what a log says about documents below `dir`.
fn ours<'a>(log: &'a str, dir: &Path) -> Vec<&'a str> {
    let dir = format!("{}/", dir.display());
    let about = |line: &&str| {
        let levels = ["WARNING: ", "ERROR: ", "SEVERE: ", "CRITICAL: "];
        line.starts_with(&dir) && levels.iter().any(|level| line.contains(level))
    };
    log.lines().filter(about).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_our_documents_count() {
        let log = "/t/Documentation/livepatch/rust/index.rst:78: ERROR: Malformed table.\n\
                   Text in column margin in table line 27.\n\
                   /t/Documentation/livepatch/rust/a.rst: WARNING: document isn't included in any toctree\n\
                   /t/Documentation/other/a.rst:3: WARNING: no\n\
                   WARNING: dot(1) not found\n";
        let found = ours(log, Path::new("/t/Documentation/livepatch"));
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("Malformed") && found[1].contains("toctree"));
    }
}
