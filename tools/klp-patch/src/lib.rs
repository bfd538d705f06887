// SPDX-License-Identifier: GPL-2.0
//! From a patch of the source to the module of a live patch, for a kernel that is built already.
//!
//! | module | concern |
//! |---|---|
//! | [`base`] | the built kernel: its tree, its build directory, and whether they fit together |
//! | [`fix`], [`series`] | the patches: what they touch, and what no live patch can hold |
//! | [`comment`] | whether a file of a patch changes code |
//! | [`record`] | Kbuild's record of how it made each object, and of what |
//! | [`view`] | the tree as it is with the patches |
//! | [`image`] | the symbols of the linked kernel and modules |
//! | [`compile`] | compiling the objects that change, without and with the patches |
//! | [`rust`] | the same for objects that rustc makes |
//! | [`job`] | running compilers, and keeping what they make |
//! | [`combine`] | from the pairs of objects to one, by the patch engine |
//! | [`link`] | from the object that the patch engine writes to the module |
//! | [`output`] | the module's name and file |
//! | [`flags`], [`manifest`], [`sign`] | how users say what the module is to be; its signature |
//! | [`outline`], [`layout`] | what the source defines, and structures that change |
//! | [`explain`], [`calls`], [`sample`] | what the patches change and why, before a module is made |
//!
//! The patch engine is the crate [`klp_diff`]: bytes in, bytes out. This one knows files, Kbuild and
//! compilers. Neither the tree nor the build directory is written to. What is made goes below `patch/`
//! in the cache, so whatever ends a run early, both are as before.

#![forbid(unsafe_code)]

pub mod base;
mod calls;
mod combine;
pub mod comment;
mod compile;
pub mod explain;
pub mod fix;
pub mod flags;
mod image;
mod job;
mod layout;
mod link;
mod manifest;
pub mod outline;
pub mod output;
pub mod record;
mod rust;
mod sample;
pub mod series;
mod sign;
mod view;

use crate::base::Base;
use crate::combine::Combined;
use crate::compile::Pair;
use crate::fix::{Change, Fix};
use crate::record::{Place, Record};
use crate::sign::Signer;
use crate::view::View;
use anyhow::{bail, ensure, Context as _, Result};
use klp_diff::author::HEADERS;
use klp_diff::outside::Exports;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use steps::place;
use steps::workplace::Workplace;

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

/// What the module is to be.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Its name.
    pub name: String,
    /// The names of what the patches fix, to be noted in it.
    pub cves: Vec<String>,
    /// Who builds it.
    pub builder: Option<String>,
    /// The structures whose layout the patches may change.
    pub layouts: Vec<String>,
    /// The build IDs of the kernels that it is for; none, if it is for any.
    pub kernels: Vec<String>,
    /// Whether it replaces all other live patches, if the patches do not say.
    pub replaces: Option<bool>,
    /// Where it stands among those that are loaded at boot, to be noted in it.
    pub boot_order: Option<u32>,
    /// Who signs it.
    pub signer: Option<Signer>,
}

impl Order {
    /// Checks that it can be fulfilled for a kernel, before anything is compiled.
    fn check(&self, base: &Base) -> Result<()> {
        let id = base.build_id()?;
        ensure!(
            self.kernels.is_empty() || self.kernels.contains(&id),
            "{}: the manifest is for other kernels\n  it has:    {}\n  this is:   {id}\n\
             next: add the build ID to `kernels`, or name the build directory of such a kernel",
            self.name,
            self.kernels.join(", ")
        );
        self.signer
            .as_ref()
            .map_or(Ok(()), |signer| signer.check(base))
    }
}

/// Makes the module of patches.
///
/// Prints what the author should know though nothing is refused.
pub fn build(work: &Workplace, base: &Base, fix: &Fix, order: &Order) -> Result<Module> {
    order.check(base)?;
    let changes = fix.changes(&base.tree)?;
    layout::check(fix, &changes, &order.layouts)?;
    compared(work, base, fix, (&order.name, &changes), |dir, pairs| {
        module(work, base, (dir, fix), pairs, order)
    })
}

/// Compiles the objects that the patches change, without and with them. Hands them to `go`, with the
/// directory of all that is kept for the kernel.
fn compared<T>(
    work: &Workplace,
    base: &Base,
    fix: &Fix,
    (name, changes): (&str, &[Change]),
    go: impl FnOnce(&Path, &[Pair<'_>]) -> Result<T>,
) -> Result<T> {
    let code = code(fix, changes)?;
    let dir = room(work, base);
    let _lock = work.lock(&lock(base))?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    place::room(&dir, ROOM, "the objects of a patch")?;
    let records = affected(base, fix, &code)?;
    let headers = dir.join("headers");
    for (file, text) in HEADERS {
        place::put(&headers.join(file), text.as_bytes())?;
    }
    let at = dir.join("view");
    let result = View::create(base, (&at, &headers), fix, &records).and_then(|view| {
        let pairs = compile::compile(work, base, &dir, (name, &view), &records)?;
        go(&dir, &pairs)
    });
    // The view has a link for each file beside those of the patch, and is of no further use.
    let removed = place::remove(&at);
    result.and_then(|made| removed.map(|()| made))
}

/// Returns the files in which code changes, at least one.
fn code(fix: &Fix, changes: &[Change]) -> Result<BTreeSet<PathBuf>> {
    let (code, comments): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.is_code);
    ensure!(
        !code.is_empty(),
        "no live patch can be made of {fix}: it changes only comments and white space, so no function changed\n\
         next: check that this is the patch that you mean"
    );
    if !comments.is_empty() {
        let files = comments
            .iter()
            .map(|change| change.file.display().to_string());
        eprintln!(
            "note: the patch changes only comments and white space in {}",
            files.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(code.iter().map(|change| change.file.clone()).collect())
}

/// Removes the patched objects that earlier patches of a kernel have left.
pub fn forget_patched(work: &Workplace, base: &Base) -> Result<()> {
    let _lock = work.lock(&lock(base))?;
    compile::forget_patched(&room(work, base))
}

/// Removes all objects that earlier patches of a kernel have left.
pub fn forget(work: &Workplace, base: &Base) -> Result<()> {
    let _lock = work.lock(&lock(base))?;
    compile::forget_originals(&room(work, base))?;
    compile::forget_patched(&room(work, base))
}

/// Returns where everything of a kernel's patches is kept.
fn room(work: &Workplace, base: &Base) -> PathBuf {
    work.cache.join("patch").join(base.key())
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
    let config = base.read_text(".config")?;
    for record in found.records {
        total += 1;
        if let Some(why) = rust::objection(&record, &config) {
            bail!("{fix}: {} {why}", record.source.display());
        }
        match record.place {
            Place::Elsewhere if fix.files.contains(&record.source) => bail!(
                "{}: {} is neither part of the kernel image nor of a module, so it can't be live patched\n\
                 next: leave it out of the patch",
                fix,
                record.source.display()
            ),
            Place::Elsewhere => elsewhere.push(record.object),
            Place::Modules(modules) => {
                let names: Vec<_> = modules.iter().map(|module| &*module.name).collect();
                bail!(
                    "{}: {} is part of several modules ({}), and a live patch is of one object of each\n\
                     next: leave it out of the patch",
                    fix,
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
        fix,
        base.out.display()
    );
    if records.len() > code.len() {
        eprintln!("{} objects use what the patch changes", records.len());
    }
    Ok(records)
}

/// Compares the objects, and makes the module of those that differ.
fn module(
    work: &Workplace,
    base: &Base,
    (dir, fix): (&Path, &Fix),
    pairs: &[Pair<'_>],
    Order {
        name,
        cves,
        builder,
        replaces,
        boot_order,
        signer,
        ..
    }: &Order,
) -> Result<Module> {
    let (cves, boot_order) = (cves.join(","), boot_order.map(|order| order.to_string()));
    let (hash, build_id) = (fix.hashes()?, base.build_id()?);
    let mut modinfo = vec![("klp_patch_sha256", &*hash), ("klp_build_id", &*build_id)];
    if !cves.is_empty() {
        modinfo.push(("klp_cve", &cves));
    }
    if let Some(builder) = builder {
        modinfo.push(("klp_builder", builder));
    }
    if let Some(order) = &boot_order {
        modinfo.push(("klp_order", order));
    }
    let symvers = base.read_text("Module.symvers")?;
    let exports = Exports::parse(&symvers);
    let Combined { object, functions } =
        combine::combine(base, pairs, &exports, (&modinfo, *replaces))
            .with_context(|| format!("no live patch can be made of {fix}"))?;
    let dir = dir.join("modules").join(name);
    let bytes = link::link(work, base, &dir, name, &object, &exports)?;
    let bytes = match signer {
        Some(signer) => signer.sign(base, &bytes)?,
        None => bytes,
    };
    Ok(Module { bytes, functions })
}
