// SPDX-License-Identifier: GPL-2.0
//! The tree's get_maintainer, asked for each of our files.

use crate::commands::lint::tree::Tree;
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::step::Step;
use crate::tools::tally::Tally;
use anyhow::{Context as _, Result};
use std::fs;
use xshell::cmd;

/// Prints the files that no section of the list `$0` covers.
const ASK_EACH: &str = "for file; do
    said=$(perl scripts/get_maintainer.pl --mpath=\"$0\" --no-git --no-git-fallback --no-m --no-l \\
        --sections --file \"$file\") || exit
    case \"$said\" in *F:*) ;; *) echo \"$file\"; missing=1 ;; esac
done
[ -z \"$missing\" ]";

/// Checks that the entry in our `MAINTAINERS` covers each file that the graft adds.
pub fn check(cx: &Context, tree: &Tree) -> Tally {
    let check = || -> Result<()> {
        provision::ensure(cx, &[provision::PERL])?;
        let (sh, files) = (cx.shell()?, &tree.added);
        let list = cx.root.join("MAINTAINERS");
        fs::metadata(&list).with_context(|| format!("cannot read {}", list.display()))?;
        sh.change_dir(&tree.linux);
        let command = cmd!(sh, "sh -c {ASK_EACH} {list} {files...}");
        Step::new(cx, "Ask get_maintainer about our files", command)
            .hint("add the files above to the entry in MAINTAINERS")
            .run()
            .map(drop)
    };
    Tally::check(check())
}
