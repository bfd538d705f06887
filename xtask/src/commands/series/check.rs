// SPDX-License-Identifier: GPL-2.0
//! Checks that the series gives the tree that the graft gives.

use crate::commands::series::out;
use crate::kernel::content::{put, Content};
use crate::kernel::graft;
use crate::kernel::history;
use crate::kernel::series;
use crate::kernel::source::Source;
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use crate::tools::tally::Tally;
use anyhow::{bail, ensure, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use steps::git;
use steps::step;

/// Checks the series against the graft, as a test.
pub fn check(cx: &Context) -> Tally {
    let title = "Check that the series gives the grafted tree";
    let check = || same_as_graft(cx, &Source::choose(cx)?);
    let result = step::work(title, check);
    if let Ok((files, mails)) = &result {
        println!("{title}: {files} files, {mails} patches");
    }
    Tally::check(result.map(drop))
}

/// Checks that the mails, applied by `git am`, give the files of the grafted tree. Returns how many
/// files and mails there are. Nothing may graft meanwhile, but kernels may be built.
pub fn same_as_graft(cx: &Context, source: &Source) -> Result<(usize, usize)> {
    let placed = graft::read_placed(source)?;
    let who = Identity::for_checks();
    let (mail, tree) = (history::aside(cx)?, history::aside(cx)?);
    let stages = out::mails(cx, source, &who, mail.path())?;

    let dir = tree.path();
    git::run(dir, &["init", "--quiet"], "")?;
    for file in &placed {
        put(dir, file, source.original(file, &placed)?.as_ref())?;
    }
    git::run(dir, &["add", "--all", "--force"], "")?;
    commit(dir, &who)?;
    let mut mails = 0;
    for stage in &stages {
        let paths = series::in_order(&mail.path().join(stage.name))?;
        mails += paths.len();
        let mut command = git::at(dir);
        command.args(["am", "--quiet", "--keep-cr"]).args(paths);
        who.sign(&mut command, "2000-01-01T00:00:00Z");
        git::finish(command, "")?;
    }

    let list = git::run(dir, &["ls-files"], "")?;
    let mut files: BTreeSet<PathBuf> = list.lines().map(PathBuf::from).collect();
    files.extend(placed);
    for file in &files {
        let series = Content::read(&dir.join(file))?;
        if series != Content::read(&source.linux().join(file))? {
            bail!("the series and the graft differ in {}", file.display());
        }
    }
    ensure!(!files.is_empty() && mails > 0, "the series is empty");
    Ok((files.len(), mails))
}

fn commit(dir: &Path, who: &Identity) -> Result<()> {
    let mut command = git::at(dir);
    command.args(["commit", "--quiet", "--message=originals"]);
    who.sign(&mut command, "2000-01-01T00:00:00Z");
    git::finish(command, "").map(drop)
}
