// SPDX-License-Identifier: GPL-2.0
//! Makes the modules of patches for one kernel, and tests all of them in one guest.

use crate::commands::patch::outcome::Outcome;
use crate::guest::initramfs;
use crate::guest::suite::{self, Suite, View};
use crate::guest::userspace::Userspace;
use crate::kernel::flavour::Core;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::{Context as _, Result};
use klp_patch::base::Base;
use klp_patch::fix::Fix;
use klp_patch::{output, Module, Order};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The name of the suite that runs the project's own patches, and of its directory.
pub const NAME: &str = "patches";

/// What the suite is about.
pub const ABOUT: &str = "live patches made from patches of the source";

/// How the name of a patch's script ends in the place of `patch`.
const CHECK: &str = "check";

/// How long a guest may take, and how much longer with each patch.
const DEADLINE: Duration = Duration::from_secs(4 * 60);
const EACH: Duration = Duration::from_secs(60);

/// A module and its script, with their names in the guest.
pub type Files = [(String, Vec<u8>); 2];

/// What becomes one module, to be tested.
pub struct Trial {
    /// The patches, or directories of patches.
    pub patches: Vec<PathBuf>,
    /// The script that tells whether it has its effect.
    pub check: Option<PathBuf>,
    /// The name of its module.
    pub name: String,
}

impl Trial {
    /// Returns the trial of patches. Without a script, that of the first patch is taken, if there is
    /// one beside it.
    pub fn of(patches: Vec<PathBuf>, check: Option<PathBuf>) -> Result<Self> {
        let first = patches.first().context("no patch is named")?;
        let beside = Some(first.with_extension(CHECK)).filter(|script| script.is_file());
        Ok(Self {
            check: check.or(beside),
            name: output::name(&output::default(first))?,
            patches,
        })
    }

    /// Returns its outcome with this module, or none.
    pub fn outcome(&self, kernel: (&'static str, Core), module: Option<&Module>) -> Outcome {
        Outcome::new(kernel, &self.name, self.check.is_some(), module)
    }

    /// Returns its script. Without one, any effect will do.
    pub fn script(&self) -> Result<Vec<u8>> {
        match &self.check {
            Some(path) => {
                fs::read(path).with_context(|| format!("cannot read the script {}", path.display()))
            }
            None => Ok(b":\n".to_vec()),
        }
    }

    /// Returns the files that the guest needs for it.
    pub fn files(&self, module: Vec<u8>, script: Vec<u8>) -> Files {
        let name = &self.name;
        [
            (format!("{NAME}/{name}.ko"), module),
            (format!("{NAME}/{name}.{CHECK}"), script),
        ]
    }

    /// Makes its module, and reads its script.
    fn make(&self, cx: &Context, base: &Base) -> Result<(Module, Vec<u8>)> {
        let script = self.script()?;
        let fix = Fix::read(&self.patches)?;
        let order = Order {
            name: self.name.clone(),
            ..Order::default()
        };
        Ok((klp_patch::build(cx, base, &fix, &order)?, script))
    }
}

/// Makes the modules, and tests them. A trial without a module has failed, and the others are tested.
pub fn run(
    cx: &Context,
    kernel: &Kernel,
    trials: &[Trial],
    view: View,
) -> Result<(Vec<Outcome>, Tally)> {
    let base = kernel.base(cx)?;
    let (mut outcomes, mut files, mut tally) = (Vec::new(), Vec::new(), Tally::default());
    let of = (kernel.target.name, kernel.core);
    for trial in trials {
        match trial.make(cx, &base) {
            Ok((module, script)) => {
                output::describe(&module);
                outcomes.push(trial.outcome(of, Some(&module)));
                files.push(trial.files(module.bytes, script));
            }
            Err(error) => {
                outcomes.push(trial.outcome(of, None));
                tally += Tally::failure(&error).within(&trial.name);
            }
        }
    }
    if files.is_empty() {
        return Ok((outcomes, tally));
    }
    let ran = in_guest(cx, kernel, &files, view)?;
    for outcome in &mut outcomes {
        outcome.fill(&ran.report);
    }
    tally += ran.tally();
    Ok((outcomes, tally))
}

/// Tests modules in one guest.
pub fn in_guest(
    cx: &Context,
    kernel: &Kernel,
    files: &[Files],
    view: View,
) -> Result<suite::Outcome> {
    let userspace = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build what tests a patch";
    let names = (NAME, NAME);
    let initramfs = initramfs::extended(cx, kernel, &userspace, names, title, |archive, _| {
        for (name, bytes) in files.iter().flatten() {
            archive.file(name, 0o644, bytes)?;
        }
        Ok(())
    })?;
    let each = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let suite = Suite {
        deadline: DEADLINE + EACH * each,
        ..Suite::new(NAME, ABOUT, 0)
    };
    suite.run_in(cx, kernel, &initramfs, view)
}
