// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask patch`: makes live patch modules of patches of the source, tests them in guests, and
//! compares with `klp-build`. What makes the modules is `tools/klp-patch`.

mod aligned;
mod compare;
mod outcome;
mod trial;

use crate::commands::cli;
use crate::commands::patch::trial::Trial;
use crate::guest::modules;
use crate::guest::suite::View;
use crate::kernel::build;
use crate::kernel::flavour::Flavour;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use crate::tools::target::{self, Target};
use anyhow::{ensure, Context as _, Result};
use klp_patch::base::Base;
use klp_patch::fix::Fix;
use klp_patch::flags::Asked;
use klp_patch::{explain, output, series, Order};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use crate::commands::patch::trial::NAME;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Patch) -> Result<()> {
    match &args.what {
        cli::PatchWhat::Build(args) => build(cx, args),
        cli::PatchWhat::Test(args) => test(cx, args),
        cli::PatchWhat::Explain(args) => explain(cx, args),
        cli::PatchWhat::Compare(args) => compare::run(cx, args),
    }
}

fn build(cx: &Context, args: &cli::PatchBuild) -> Result<()> {
    let Asked { fix, order, out } = args.making.read()?;
    if let Some(dir) = &args.build_dir {
        let base = Base::of_directory(cx, dir, cx.tree.as_deref())?;
        if args.running {
            base.check_running()?;
        }
        return make(cx, &base, &fix, (&order, &out));
    }
    let targets = args.arch.targets();
    let mut tally = Tally::default();
    for target in &targets {
        // One module has one name, so those of several architectures are in directories.
        let out = match targets.len() {
            1 => out.clone(),
            _ => below(&out, target),
        };
        let made = build::kernel(cx, target, args.core)
            .and_then(|kernel| kernel.base(cx))
            .and_then(|base| make(cx, &base, &fix, (&order, &out)));
        match made {
            Err(error) if targets.len() == 1 => return Err(error),
            made => tally += Tally::check(made).within(target.name),
        }
    }
    for failure in &tally.failures {
        eprintln!("{} {failure}", tally::mark(false));
    }
    tally::conclude(tally.failed())
}

fn explain(cx: &Context, args: &cli::PatchExplain) -> Result<()> {
    let base = match &args.build_dir {
        Some(dir) => Base::of_directory(cx, dir, cx.tree.as_deref())?,
        None => build::kernel(cx, args.arch, args.core)?.base(cx)?,
    };
    let report = explain::explain(cx, &base, &Fix::read(&args.patches.patches)?, None)?;
    print!("{report}");
    report.conclude()
}

/// Makes the module of a kernel, and writes its file.
fn make(cx: &Context, base: &Base, fix: &Fix, (order, out): (&Order, &Path)) -> Result<()> {
    let start = Instant::now();
    let module = klp_patch::build(cx, base, fix, order)?;
    if let Some(dir) = out.parent().filter(|dir| *dir != Path::new("")) {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    output::finish(out, &module, base, start)
}

/// Returns the file for the module of one of several architectures.
fn below(out: &Path, target: &Target) -> PathBuf {
    let dir = out.parent().unwrap_or(Path::new(""));
    dir.join(target.name)
        .join(out.file_name().unwrap_or_default())
}

fn test(cx: &Context, args: &cli::PatchTest) -> Result<()> {
    let trials = match args.each {
        true => series::expand(&args.patches.patches)?
            .into_iter()
            .map(|patch| Trial::of(vec![patch], None))
            .collect::<Result<_>>()?,
        false => vec![Trial::of(args.patches.patches.clone(), args.check.clone())?],
    };
    // Several kernels or patches make too much text.
    let (targets, cores) = (args.arch.targets(), args.core.cores());
    let view = match targets.len() * cores.len() * trials.len() {
        1 => View::Story,
        _ => View::Results,
    };
    let flavour = args.config.map_or(Flavour::Plain, |named| named.flavour);
    let (mut outcomes, mut tally) = (Vec::new(), Tally::default());
    for target in targets {
        for &core in cores {
            let ran = build::kernel_of(cx, target, core, flavour).and_then(|kernel| {
                println!("\n{}", title(&kernel));
                trial::run(cx, &kernel, &trials, view)
            });
            let (these, results) = ran.unwrap_or_else(|error| {
                let none = |trial: &Trial| trial.outcome((target.name, core), None);
                let these = trials.iter().map(none).collect();
                (these, Tally::failure(&error))
            });
            outcomes.extend(these);
            tally += results.within(&format!("{}, {}", target.name, core.name()));
        }
    }
    println!("\n{}", outcome::table(&outcomes));
    for failure in &tally.failures {
        println!("{} {failure}", tally::mark(false));
    }
    println!("{tally}");
    tally::conclude(tally.failed())
}

/// Whether live patches can be made for the kernels of a target.
pub fn is_for(target: &Target) -> bool {
    klp_diff::arch::names().any(|name| name == target.name)
}

/// Returns the heading of the suite.
pub fn title(kernel: &Kernel) -> String {
    let (target, core) = (kernel.target.name, kernel.core.name());
    format!("{NAME} on {target} with the {core}: {}", trial::ABOUT)
}

/// The patches of the suite that are tested where the target is not the default one. The engine's own
/// tests have all that differs there; these show that modules load, work and settle.
const ELSEWHERE: &[&str] = &["proc-string", "static-local"];

/// Makes a module of each patch of `tests/guest/patches/`, and tests all of them in one guest.
pub fn of(cx: &Context, kernel: &Kernel) -> Result<Tally> {
    let mut trials = own(cx)?;
    if kernel.target.name != target::DEFAULT {
        trials.retain(|trial| ELSEWHERE.contains(&trial.name.replace('_', "-").as_str()));
    }
    let (_, tally) = trial::run(cx, kernel, &trials, View::Results)?;
    Ok(tally)
}

/// Returns the patches of the suite.
fn own(cx: &Context) -> Result<Vec<Trial>> {
    let files = modules::files(&cx.root.join("tests/guest").join(NAME))?;
    let is_patch = |file: &PathBuf| file.extension().is_some_and(|end| end == "patch");
    let trials: Vec<_> = files
        .into_iter()
        .filter(is_patch)
        .map(|patch| Trial::of(vec![patch], None))
        .collect::<Result<_>>()?;
    ensure!(!trials.is_empty(), "the suite has no patch");
    Ok(trials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_several_architectures_are_in_directories() {
        let target = target::find("s390").unwrap();
        assert_eq!(
            below(Path::new("a/fix.ko"), target),
            Path::new("a/s390/fix.ko")
        );
        assert_eq!(below(Path::new("fix.ko"), target), Path::new("s390/fix.ko"));
    }

    #[test]
    fn every_patch_of_the_suite_has_a_script() {
        let (_dir, cx) = Context::for_test();
        let trials = own(&cx).unwrap();
        assert_eq!(trials.len(), 8);
        for name in ELSEWHERE {
            let is_it = |trial: &&Trial| trial.name.replace('_', "-") == *name;
            assert_eq!(trials.iter().filter(is_it).count(), 1, "{name}");
        }
        for Trial { check, name, .. } in trials {
            assert!(check.is_some_and(|check| check.exists()), "{name}");
        }
    }

    #[test]
    fn live_patches_are_for_every_target_that_is_not_in_progress() {
        assert!(target::supported().all(is_for));
        assert!(!is_for(target::find("riscv64").unwrap()));
    }
}
