// SPDX-License-Identifier: GPL-2.0
//! The tree's own `klp-build`, to be compared with.
//!
//! It builds in the source tree only, and starts from an original build that it makes itself. So it
//! gets a copy of the tree, with the configuration of the kernel that the comparison is about.

use crate::kernel::make;
use crate::kernel::toolchain::Toolchain;
use crate::tools::context::Context;
use crate::tools::need::{header, program, Need};
use anyhow::{ensure, Context as _, Result};
use klp_patch::base::Base;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use steps::place;
use steps::step::{self, Step};
use steps::workplace::Lock;

/// What it runs and includes, beyond what a kernel build needs.
pub const NEEDS: &[Need] = &[
    program("gawk", &["gawk"]),
    program("patch", &["patch"]),
    program("recountdiff", &["patchutils"]),
    header("xxhash.h", &["libxxhash-dev"]),
];

/// How much room the copy takes, with all that is built in it.
const ROOM: u64 = 6 * place::GIB;

/// How long the original build may take.
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);

/// Where it is, below the tree.
const SCRIPT: &str = "scripts/livepatch/klp-build";

/// Where it keeps what it makes, below the tree.
const KEPT: &str = "klp-tmp";

/// What is there when the original build is complete, below the tree.
const COMPLETE: &str = "klp-tmp/1-orig/.complete";

/// `klp-build` in a tree of its own.
pub struct KlpBuild {
    tree: PathBuf,
    tools: Toolchain,
    _lock: Lock,
}

/// What it made of a patch.
#[derive(Debug)]
pub struct Made {
    /// How long it took, in seconds.
    pub seconds: f32,
    /// The module and the functions that it names, or the first error.
    pub result: Result<(Vec<u8>, Vec<String>), String>,
}

impl KlpBuild {
    /// Returns it in the tree `dir`, or else in a copy of the tree of `base`, which the cache keeps.
    pub fn ready(cx: &Context, base: &Base, dir: Option<&Path>) -> Result<Self> {
        let lock = cx.lock("klp-build")?;
        let tools = Toolchain::ready(cx)?;
        let tree = match dir {
            Some(dir) => dir.canonicalize(),
            None => Ok(cx
                .cache
                .join("klp-build")
                .join(base.build_id()?)
                .join("linux")),
        }
        .context("--klp-build-dir: there is no such directory")?;
        let this = Self {
            tree,
            tools,
            _lock: lock,
        };
        if dir.is_none() && !this.tree.exists() {
            this.copy(cx, base)?;
        }
        let config = fs::read_to_string(this.tree.join(".config"));
        ensure!(
            config.is_ok_and(|config| base.read_text(".config").is_ok_and(|other| config == other)),
            "{}: its configuration is not that of the kernel in {}\n\
             next: copy that .config, and let klp-build build again; or remove the directory",
            this.tree.display(),
            base.out.display()
        );
        Ok(this)
    }

    /// Copies and configures the tree.
    fn copy(&self, cx: &Context, base: &Base) -> Result<()> {
        let entry = self.tree.parent().context("the tree has no parent")?;
        place::room(entry, ROOM, "a tree for klp-build")?;
        place::whole(entry, |partial| {
            let to = partial.join("linux");
            let mut copy = Command::new("cp");
            copy.args(["-a", "--reflink=auto"]).arg(&base.tree).arg(&to);
            step::run(cx, "Copy the tree for klp-build", copy)?;
            let (from, config) = (base.out.join(".config"), to.join(".config"));
            fs::copy(&from, &config).with_context(|| format!("cannot copy {}", from.display()))?;
            let mut make = Command::new("make");
            make.arg("olddefconfig").current_dir(&to);
            make::equip(&mut make, &self.tools)?;
            step::run(cx, "Configure the tree for klp-build", make)
        })
    }

    /// Makes the original build with this patch, if it is not there. Returns how long it took, and
    /// whether it was made now.
    pub fn original(&self, cx: &Context, patch: &Path) -> Result<(Duration, bool)> {
        let (start, end) = (self.tree.join(KEPT), self.tree.join(COMPLETE));
        let is_new = !end.exists();
        if is_new {
            place::remove(&start)?;
            let command = self.command(cx, &[], patch, &self.output(cx, "original")?)?;
            let run = Step::new(cx, "klp-build, with its original build", command)
                .deadline(DEADLINE)
                .run();
            // What it makes of the patch is asked later.
            ensure!(
                end.exists(),
                "{:#}",
                run.err()
                    .unwrap_or_else(|| anyhow::anyhow!("klp-build left no original build"))
            );
        }
        let (start, end) = (start.metadata()?.created()?, end.metadata()?.modified()?);
        Ok((end.duration_since(start)?, is_new))
    }

    /// Makes a module of a patch, from the original build.
    pub fn build(&self, cx: &Context, patch: &Path, name: &str) -> Result<Made> {
        let output = self.output(cx, name)?;
        place::remove(&output)?;
        let command = self.command(cx, &["-S", "patched"], patch, &output)?;
        let start = Instant::now();
        let title = format!("klp-build {name}");
        let step = Step::new(cx, &title, command);
        let log = step.log();
        let run = step.run();
        let seconds = start.elapsed().as_secs_f32();
        let log = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        let result = match run {
            Ok(_) => Ok((
                fs::read(&output).with_context(|| format!("there is no {}", output.display()))?,
                functions(&log),
            )),
            Err(_) => Err(first_error(&log)),
        };
        Ok(Made { seconds, result })
    }

    /// Returns where a module goes.
    fn output(&self, cx: &Context, name: &str) -> Result<PathBuf> {
        let dir = cx.cache.join("klp-build/modules");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir.join(format!("{name}.ko")))
    }

    fn command(
        &self,
        cx: &Context,
        options: &[&str],
        patch: &Path,
        output: &Path,
    ) -> Result<Command> {
        let mut command = Command::new(self.tree.join(SCRIPT));
        command
            .current_dir(&self.tree)
            .args(options)
            .arg("--keep-tmp")
            .arg(format!("--jobs={}", cx.jobs))
            .arg(format!("--output={}", output.display()))
            .arg(patch.canonicalize()?);
        make::equip(&mut command, &self.tools)?;
        Ok(command)
    }
}

/// Returns the functions that it names, changed and new.
fn functions(log: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, name) = line
            .split_once(": changed function: ")
            .or_else(|| line.split_once(": new function: "))?;
        Some(name.trim().to_owned())
    };
    log.lines().filter_map(name).collect()
}

/// Returns the first line that has an error, or the last line.
fn first_error(log: &str) -> String {
    let line = log
        .lines()
        .find(|line| line.contains("error: "))
        .or_else(|| log.lines().last());
    line.unwrap_or("it printed nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Validating patch(es)\nBuilding patched kernel\nDiffing objects\n\
        vmlinux.o: new function: where\nvmlinux.o: changed function: show\n\
        fs/a.o: changed function: open\nBuilding patch module: a.ko\nSUCCESS\n";

    #[test]
    fn functions_are_read_from_the_log() {
        assert_eq!(functions(LOG), ["where", "show", "open"]);
    }

    #[test]
    fn the_first_error_is_the_cause() {
        let log = "Diffing objects\nvmlinux.o: error: objtool: changed data: a\n\
            error: klp-build: objtool klp diff failed\nerror: klp-build: line 9\n";
        assert_eq!(
            first_error(log),
            "vmlinux.o: error: objtool: changed data: a"
        );
        assert_eq!(first_error("one\ntwo \n"), "two");
        assert_eq!(first_error(""), "it printed nothing");
    }
}
