// SPDX-License-Identifier: GPL-2.0
//! Writes the series as mails that `git am` applies and `git send-email` sends.

use crate::kernel::graft;
use crate::kernel::history::{self, Extent, History};
use crate::kernel::series::Stage;
use crate::kernel::source::Source;
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use anyhow::{ensure, Result};
use std::fs;
use std::path::Path;
use steps::git;
use steps::place;

/// What the mails look like, whatever git's settings are.
const FORMAT: &[&str] = &[
    "format-patch",
    "--quiet",
    "--cover-letter",
    "--cover-from-description=subject",
    "--zero-commit",
    "--no-signature",
    "--full-index",
    "--no-renames",
    "--unified=3",
];

/// What the tree's own documents ask of someone who sends patches.
const REMINDER: &str = "\
before you send them, in the tree's Documentation/process/:
  submitting-patches.rst    your Signed-off-by says that you may submit this: read section 11
  coding-assistants.rst     tools that wrote a part are named with Assisted-by
  generated-content.rst     say what was generated, how, and how you have checked it
  maintainer-handbooks.rst  what tip (ftrace, x86), netdev (BPF) and others want on top
  scripts/get_maintainer.pl whom to send each patch to
Each stage can be sent apart, as soon as the one before is in the tree.";

/// Writes the mails into the new directory `out`.
pub fn write(cx: &Context, out: &Path) -> Result<()> {
    place::vacant("--out", out)?;
    let who = Identity::of_user(cx)?;
    let source = Source::choose(cx)?;
    let _lock = cx.lock(&graft::lock_name(&source))?;
    graft::refresh(&source)?;
    let out = std::path::absolute(out)?;
    place::whole(&out, |partial| mails(cx, &source, &who, partial).map(drop))?;
    println!("{}", out.display());
    eprintln!(
        "in a git tree of Linux {}: for stage in fixes core settled ports; do git am {}/$stage/*.patch; done\n\
         {REMINDER}",
        source.version,
        out.display()
    );
    Ok(())
}

/// Writes the mails of each stage into a directory of its own below `out`. Returns the stages.
pub fn mails(cx: &Context, source: &Source, who: &Identity, out: &Path) -> Result<Vec<Stage>> {
    let aside = history::aside(cx)?;
    let history = History::make(cx, source, aside.path(), Extent::Touched, who)?;
    let mut before = history.base.clone();
    let mut stages = Vec::new();
    for (stage, commits) in history.stages {
        let last = commits.last().cloned().unwrap_or_else(|| before.clone());
        stage_mails(
            &history.dir,
            &stage,
            [&before, &last],
            who,
            &out.join(stage.name),
        )?;
        before = last;
        stages.push(stage);
    }
    Ok(stages)
}

fn stage_mails(
    repo: &Path,
    stage: &Stage,
    [before, last]: [&str; 2],
    who: &Identity,
    out: &Path,
) -> Result<()> {
    let name = stage.name;
    ensure!(
        !stage.cover.trim().is_empty(),
        "the stage {name} has no cover letter\nnext: write xtask/series/{name}/cover.txt: a subject, \
         an empty line, the text"
    );
    // The description of a branch becomes the cover letter.
    git::run(repo, &["branch", "--force", name, last], "")?;
    let description = format!("branch.{name}.description");
    git::run(repo, &["config", &description, &stage.cover], "")?;
    let mut command = git::at(repo);
    command.args(FORMAT).arg("-o").arg(out);
    command.arg(format!("{before}..{name}"));
    // The cover letter has the date of the patches.
    let date = git::run(repo, &["log", "-1", "--format=%aI", last], "")?;
    who.sign(&mut command, date.trim());
    git::finish(command, "")?;
    // `git am` refuses a mail without a change, so the cover letter is no `*.patch`.
    let cover = out.join("0000-cover-letter");
    fs::rename(cover.with_extension("patch"), cover.with_extension("txt"))?;
    for plot in stage.patches.iter().flat_map(|patch| &patch.places) {
        if plot.extension().is_some_and(|extension| extension == "svg") {
            let plots = out.join("plots");
            fs::create_dir_all(&plots)?;
            let name = plot.file_name().unwrap_or_default();
            fs::copy(repo.join(plot), plots.join(name))?;
        }
    }
    Ok(())
}
