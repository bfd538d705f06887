// SPDX-License-Identifier: GPL-2.0
//! rustfmt, with the tree's settings.

use crate::commands::lint::tree::Tree;
use crate::kernel::graft;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::{ensure, Result};
use steps::step::Step;
use xshell::cmd;

/// Formats each file from its standard input. From a named file rustfmt would go on to the file's
/// modules, and the kernel tree has some of those at another place than the checkout.
const FORMAT_EACH: &str = "for file; do
    rustfmt --config-path \"$0\" <\"$file\" |
        diff --label \"$file\" --label formatted -u \"$file\" - || exit
done";

/// Checks the formatting of the Rust code that goes into the tree.
pub fn check(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let mut files = graft::ours(cx)?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
        ensure!(!files.is_empty(), "no Rust file goes into the tree");
        let (sh, settings) = (cx.shell()?, tree.linux.join(".rustfmt.toml"));
        let command = cmd!(sh, "sh -c {FORMAT_EACH} {settings} {files...}");
        let hint = format!(
            "write the output of `rustfmt --config-path {} <FILE` back to the file",
            settings.display()
        );
        let title = "Check the formatting of what goes into the tree";
        let step = Step::new(cx, title, command);
        step.hint(&hint).run().map(drop)
    };
    Tally::check(check())
}
