// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask patch compare`: the tree's `klp-build` and ours over the same patches, in one run.
//!
//! For each patch, ours runs without and with the objects that it keeps, and then `klp-build` from
//! its original build. All three run right after each other, because the machine may be busy. What
//! is printed is reStructuredText for `docs/patch-build.rst`.

mod table;

use crate::commands::cli;
use crate::commands::patch::compare::table::Row;
use crate::commands::patch::trial::{self, Trial};
use crate::guest::modules;
use crate::guest::suite::{Outcome, View};
use crate::kernel::build;
use crate::kernel::flavour::Core;
use crate::kernel::klp_build::{KlpBuild, Made, NEEDS};
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use crate::tools::{provision, target};
use anyhow::{ensure, Context as _, Result};
use klp_patch::base::Base;
use klp_patch::fix::Fix;
use klp_patch::Order;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The suite of guest tests that has patches, below `tests/guest/`.
const NAME: &str = "patches";

/// The project's patches for the comparison, besides those of the guest tests.
const ROOM: &str = "tests/beside";

/// The patches of the guest tests that are in it. The other one includes a header of the project,
/// which klp-build does not know.
const OF_GUEST: &[&str] = &[
    "proc-string",
    "static-local",
    "later-module",
    "new-function",
    "two-files",
];

/// Runs the command.
pub fn run(cx: &Context, args: &cli::PatchCompare) -> Result<()> {
    provision::ensure(cx, NEEDS)?;
    let base = match &args.build_dir {
        Some(dir) => Base::of_directory(cx, dir, cx.tree.as_deref())?,
        None => build::kernel(cx, target::find(target::DEFAULT)?, Core::Rust)?.base(cx)?,
    };
    let patches = match args.patches.as_slice() {
        [] => patches(cx)?,
        patches => patches.to_vec(),
    };
    let klp_build = KlpBuild::ready(cx, &base, args.klp_build_dir.as_deref())?;
    let first = patches.first().context("there is no patch")?;
    let original = klp_build.original(cx, first)?;
    let mut rows = Vec::new();
    for patch in &patches {
        rows.push(row(cx, &base, &klp_build, patch)?);
    }
    let release = base.read_text("include/config/kernel.release")?;
    println!("\n{}", table::text(release.trim(), original, &rows));
    match args.boot {
        true => boot(cx, &patches, rows),
        false => Ok(()),
    }
}

/// Loads the modules of klp-build on each core. They were built for the Rust core's kernel. Nothing in
/// them depends on the core, since they name what they refer to.
fn boot(cx: &Context, patches: &[PathBuf], rows: Vec<Row>) -> Result<()> {
    let mut files = Vec::new();
    for (patch, row) in patches.iter().zip(rows) {
        if let Ok((module, _)) = row.klp_build.result {
            let trial = Trial::of(vec![patch.clone()], None)?;
            files.push(trial.files(module, trial.script()?));
        }
    }
    ensure!(!files.is_empty(), "klp-build has made no module");
    let mut total = Tally::default();
    for core in [Core::Rust, Core::C] {
        let kernel = build::kernel(cx, target::find(target::DEFAULT)?, core)?;
        println!(
            "\n{} modules of klp-build, on the {}",
            files.len(),
            core.name()
        );
        let outcome = trial::in_guest(cx, &kernel, &files, View::Results);
        let tally = outcome.map(Outcome::tally);
        total += tally.unwrap_or_else(|error| Tally::failure(&error));
    }
    println!("{total}");
    tally::conclude(total.failed())
}

/// Returns the project's patches, in the order of the table.
fn patches(cx: &Context) -> Result<Vec<PathBuf>> {
    let guest = cx.root.join("tests/guest").join(NAME);
    let mut patches: Vec<_> = OF_GUEST
        .iter()
        .map(|name| guest.join(name).with_extension("patch"))
        .collect();
    patches.extend(modules::files(&cx.root.join(ROOM))?);
    Ok(patches)
}

/// Runs both over a patch.
fn row(cx: &Context, base: &Base, klp_build: &KlpBuild, patch: &Path) -> Result<Row> {
    let name = patch
        .file_stem()
        .context("a patch has a name")?
        .to_string_lossy()
        .into_owned();
    let load = load()?;
    klp_patch::forget(cx, base)?;
    let cold = ours(cx, base, patch, &name)?;
    klp_patch::forget_patched(cx, base)?;
    let warm = ours(cx, base, patch, &name)?;
    ensure!(
        cold.result == warm.result,
        "{name}: another result with the kept objects; report this"
    );
    let klp_build = klp_build.build(cx, patch, &name)?;
    Ok(Row {
        name,
        load,
        cold: cold.seconds,
        ours: warm,
        klp_build,
    })
}

/// Makes a module of a patch as `patch build` does.
fn ours(cx: &Context, base: &Base, patch: &Path, name: &str) -> Result<Made> {
    let start = Instant::now();
    let fix = Fix::read(&[patch.to_owned()])?;
    let order = Order {
        name: name.to_owned(),
        ..Order::default()
    };
    let module = klp_patch::build(cx, base, &fix, &order);
    let seconds = start.elapsed().as_secs_f32();
    let result = match module {
        Ok(module) => {
            let functions = module.functions.into_iter().flat_map(|(_, names)| names);
            Ok((module.bytes, functions.collect()))
        }
        Err(error) => Err(table::first_line(&error.root_cause().to_string())),
    };
    Ok(Made { seconds, result })
}

/// Returns how many tasks ran or waited for a CPU in the last minute, on average.
fn load() -> Result<f32> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let first = text.split(' ').next().context("/proc/loadavg is empty")?;
    first.parse().context("/proc/loadavg has no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_has_ten_patches_for_it() {
        let (_dir, cx) = Context::for_test();
        let patches = patches(&cx).unwrap();
        assert_eq!(patches.len(), 10);
        for patch in patches {
            let text = fs::read_to_string(&patch).unwrap();
            assert!(text.contains("\n--- a/"), "{}", patch.display());
            assert_eq!(patch.extension(), Some("patch".as_ref()));
        }
    }

    #[test]
    fn a_machine_has_a_load() {
        assert!(load().unwrap() >= 0.0);
    }
}
