// SPDX-License-Identifier: GPL-2.0
//! From a patch of the source to the module of a live patch, for a kernel that is built already.
//!
//! | file | concern |
//! |---|---|
//! | [`base`] | the built kernel: its tree, its build directory, and whether they fit together |
//! | [`fix`] | the patch: what it touches, and what no live patch can hold |
//! | [`comment`] | whether a file of the patch changes code |
//! | [`record`] | Kbuild's record of how it made each object, and of what |
//! | [`view`] | the tree as it is with the patch |
//! | [`image`] | the symbols of the linked kernel and modules |
//! | [`compile`] | compiling the objects that change, without and with the patch |
//! | [`job`] | running compilers, and keeping what they make |
//! | [`combine`] | from the pairs of objects to one, by the patch engine |
//! | [`link`] | from the object that the patch engine writes to the module |
//!
//! Neither the tree nor the build directory is written to. What is made goes below `patch/` in the
//! cache, so whatever ends a run early, both are as before.

pub mod base;
mod combine;
mod comment;
mod compile;
mod fix;
mod image;
mod job;
mod link;
mod record;
mod view;

use crate::kernel::patch::base::Base;
use crate::kernel::patch::combine::Combined;
use crate::kernel::patch::compile::Pair;
use crate::kernel::patch::fix::Fix;
use crate::kernel::patch::record::{Place, Record};
use crate::kernel::patch::view::View;
use crate::tools::context::Context;
use crate::tools::place;
use anyhow::{bail, ensure, Context as _, Result};
use klp_diff::outside::Exports;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How much room a patch may take. Debug information makes most of it.
const ROOM: u64 = 256 << 20;

/// A live patch module.
#[derive(Debug)]
pub struct Module {
    /// The content of its file.
    pub bytes: Vec<u8>,
    /// The kernel or module that each function is for: those that changed, and new ones.
    pub functions: Vec<(String, Vec<String>)>,
}

/// What a module says of itself besides what is known of its patch and its kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes<'a> {
    /// The names of what the patch fixes.
    pub cves: &'a [String],
    /// Who builds it.
    pub builder: Option<&'a str>,
}

/// Makes the module `name` of a patch.
///
/// Prints what the author should know though nothing is refused.
pub fn build(
    cx: &Context,
    base: &Base,
    patch: &Path,
    name: &str,
    notes: Notes<'_>,
) -> Result<Module> {
    let fix = Fix::read(patch)?;
    let dir = room(cx, base);
    let _lock = cx.lock(&lock(base))?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    place::room(&dir, ROOM, "the objects of a patch")?;
    let code = fix.code(&base.tree)?;
    ensure!(
        !code.is_empty(),
        "no live patch can be made of {}: it changes only comments and white space, so no function changed\n\
         next: check that this is the patch that you mean",
        fix.path.display()
    );
    if code.len() < fix.files.len() {
        let files = fix
            .files
            .difference(&code)
            .map(|file| file.display().to_string());
        eprintln!(
            "note: the patch changes only comments and white space in {}",
            files.collect::<Vec<_>>().join(", ")
        );
    }
    let records = affected(base, &fix, &code)?;
    let at = dir.join("view");
    let result = View::create(cx, base, &at, &fix, &records).and_then(|view| {
        let pairs = compile::compile(cx, base, &dir, (name, &view), &records)?;
        module(cx, base, &dir, &fix, &pairs, (name, notes))
    });
    // The view has a link for each file beside those of the patch, and is of no further use.
    let removed = place::remove(&at);
    result.and_then(|module| removed.map(|()| module))
}

/// Removes the patched objects of the last patch of a kernel, as another patch does.
pub fn forget_patched(cx: &Context, base: &Base) -> Result<()> {
    let _lock = cx.lock(&lock(base))?;
    compile::forget_patched(&room(cx, base))
}

/// Removes all objects that earlier patches of a kernel have left.
pub fn forget(cx: &Context, base: &Base) -> Result<()> {
    let _lock = cx.lock(&lock(base))?;
    compile::forget_originals(&room(cx, base))?;
    compile::forget_patched(&room(cx, base))
}

/// Returns where everything of a kernel's patches is kept.
fn room(cx: &Context, base: &Base) -> PathBuf {
    cx.cache.join("patch").join(base.key())
}

/// Returns the name of the lock for it.
fn lock(base: &Base) -> String {
    format!("patch-{}", base.key())
}

/// Returns the records of the objects that the patch may change: those that use `code`.
fn affected(base: &Base, fix: &Fix, code: &BTreeSet<PathBuf>) -> Result<Vec<Record>> {
    let found = record::users(&base.out, &base.prefix, code)?;
    for file in code.iter().filter(|file| !found.used.contains(*file)) {
        eprintln!("note: no object of this build uses {}", file.display());
    }
    let mut records = Vec::new();
    let (mut elsewhere, mut total) = (Vec::new(), 0);
    for record in found.records {
        total += 1;
        match record.place {
            Place::Elsewhere if fix.files.contains(&record.source) => bail!(
                "{}: {} is neither part of the kernel image nor of a module, so it can't be live patched\n\
                 next: leave it out of the patch",
                fix.path.display(),
                record.source.display()
            ),
            Place::Elsewhere => elsewhere.push(record.object),
            Place::Modules(modules) => {
                let names: Vec<_> = modules.iter().map(|module| &*module.name).collect();
                bail!(
                    "{}: {} is part of several modules ({}), and a live patch is of one object of each\n\
                     next: leave it out of the patch",
                    fix.path.display(),
                    record.object.display(),
                    names.join(", ")
                )
            }
            _ => records.push(record),
        }
    }
    if let Some(first) = elsewhere.first() {
        eprintln!(
            "note: left out, since in no kernel image and no module: {} objects, such as {}",
            elsewhere.len(),
            first.display()
        );
    }
    ensure!(
        !records.is_empty(),
        "{}: no object of the kernel in {} is made from what it touches ({total} were found)\n\
         next: check that this configuration builds these files",
        fix.path.display(),
        base.out.display()
    );
    if records.len() > code.len() {
        eprintln!("{} objects use what the patch changes", records.len());
    }
    Ok(records)
}

/// Compares the objects, and makes the module of those that differ.
fn module(
    cx: &Context,
    base: &Base,
    dir: &Path,
    fix: &Fix,
    pairs: &[Pair<'_>],
    (name, notes): (&str, Notes<'_>),
) -> Result<Module> {
    let cves = notes.cves.join(",");
    let (hash, build_id) = (fix.hash()?, base.build_id()?);
    let mut modinfo = vec![("klp_patch_sha256", &*hash), ("klp_build_id", &*build_id)];
    if !cves.is_empty() {
        modinfo.push(("klp_cve", &cves));
    }
    if let Some(builder) = notes.builder {
        modinfo.push(("klp_builder", builder));
    }
    let symvers = base.read_text("Module.symvers")?;
    let exports = Exports::parse(&symvers);
    let Combined { object, functions } = combine::combine(base, pairs, &exports, &modinfo)
        .with_context(|| format!("no live patch can be made of {}", fix.path.display()))?;
    let dir = dir.join("modules").join(name);
    let bytes = link::link(cx, base, &dir, name, &object, &exports)?;
    Ok(Module { bytes, functions })
}
