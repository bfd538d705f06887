// SPDX-License-Identifier: GPL-2.0
//! The tree's get_maintainer, asked for each of our files.

use crate::commands::lint::tree::Tree;
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::tally::Tally;
use anyhow::Result;
use steps::step::Step;
use xshell::cmd;

/// Prints the files that no section for live patching covers.
const ASK_EACH: &str = "for file; do
    said=$(perl scripts/get_maintainer.pl --no-git --no-git-fallback --no-m --no-l --sections \\
        --file \"$file\") || exit
    case \"$said\" in *\"LIVE PATCHING\"*) ;; *) echo \"$file\"; missing=1 ;; esac
done
[ -z \"$missing\" ]";

/// Checks that the entry that the series adds covers each file that the graft adds.
pub fn check(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        provision::ensure(cx, &[provision::PERL])?;
        let (sh, files) = (cx.shell()?, &tree.added);
        sh.change_dir(&tree.linux);
        let command = cmd!(sh, "sh -c {ASK_EACH} sh {files...}");
        Step::new(cx, "Ask get_maintainer about our files", command)
            .hint("add the files above to the entry that the series adds to MAINTAINERS")
            .run()
            .map(drop)
    };
    Tally::check(check())
}
