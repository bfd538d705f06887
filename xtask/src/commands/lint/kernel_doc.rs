// SPDX-License-Identifier: GPL-2.0
//! The tree's kernel-doc, over our C files.

use crate::commands::lint::tree::Tree;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::Result;
use steps::step;
use xshell::cmd;

/// Checks the comments that kernel-doc reads.
pub fn check(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        let (sh, files) = (cx.shell()?, tree.files(&["c", "h"])?);
        sh.change_dir(&tree.linux);
        // `-B` keeps Python from writing into the tree.
        let command = cmd!(
            sh,
            "python3 -B scripts/kernel-doc -none -Wall -Werror {files...}"
        );
        step::run(cx, "Check the C code's comments with kernel-doc", command)
    };
    Tally::check(check())
}
