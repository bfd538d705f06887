// SPDX-License-Identifier: GPL-2.0
//! From a patch of the source to the module of a live patch, for a kernel that is built already.
//!
//! | file | concern |
//! |---|---|
//! | [`base`] | the built kernel: its tree, its build directory, and whether they fit together |
//! | [`fix`] | the patch: what it touches, and what no live patch can hold |
//! | [`record`] | Kbuild's record of how it made each object, and of what |
//! | [`view`] | the tree as it is with the patch |
//! | [`image`] | the symbols of the linked kernel and modules |
//! | [`compile`] | compiling the objects that change, without and with the patch |
//! | [`link`] | from the object that the patch engine writes to the module |
//!
//! Neither the tree nor the build directory is written to. What is made goes below `patch/` in the
//! cache, so whatever ends a run early, both are as before.

pub mod base;
mod compile;
mod fix;
mod image;
mod link;
mod record;
mod view;

use crate::kernel::patch::base::Base;
use crate::kernel::patch::compile::Pair;
use crate::kernel::patch::fix::Fix;
use crate::kernel::patch::record::{Place, Record};
use crate::kernel::patch::view::View;
use crate::tools::context::Context;
use crate::tools::place;
use anyhow::{bail, ensure, Context as _, Result};
use klp_diff::outside::{Exports, Image};
use klp_diff::{Diff, Environment, Error, Part};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How much room a patch may take. Debug information makes most of it.
const ROOM: u64 = 256 << 20;

/// A live patch module.
#[derive(Debug)]
pub struct Module {
    /// The content of its file.
    pub bytes: Vec<u8>,
    /// The object that it patches, and the functions in it.
    pub functions: Vec<(String, Vec<String>)>,
}

/// Makes the module `name` of a patch. `cves` are the names of what the patch fixes.
///
/// Prints what the author should know though nothing is refused.
pub fn build(
    cx: &Context,
    base: &Base,
    patch: &Path,
    name: &str,
    cves: &[String],
) -> Result<Module> {
    let fix = Fix::read(patch)?;
    let dir = cx.cache.join("patch").join(base.key());
    let _lock = cx.lock(&format!("patch-{}", base.key()))?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    place::room(&dir, ROOM, "the objects of a patch")?;
    let records = affected(base, &fix)?;
    let view = View::create(cx, base, &dir.join("view"), &fix, &records)?;
    let pairs = compile::compile(cx, base, &dir, (name, &view), &records)?;
    let result = module(cx, base, &dir, &fix, &pairs, (name, cves));
    // The view has a link for each file beside those of the patch, and is of no further use.
    place::remove(&dir.join("view"))?;
    result
}

/// Returns the records of the objects that the patch may change.
fn affected(base: &Base, fix: &Fix) -> Result<Vec<Record>> {
    let found = record::users(&base.out, &base.prefix, &fix.files)?;
    for file in fix.files.iter().filter(|file| !found.used.contains(*file)) {
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
    if records.len() > fix.files.len() {
        eprintln!(
            "{} objects use what the patch touches; all are compiled",
            records.len()
        );
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
    (name, cves): (&str, &[String]),
) -> Result<Module> {
    let symvers = base.read_text("Module.symvers")?;
    let exports = Exports::parse(&symvers);
    let cves = cves.join(",");
    let (hash, build_id) = (fix.hash()?, base.build_id()?);
    let mut modinfo = vec![("klp_patch_sha256", &*hash), ("klp_build_id", &*build_id)];
    if !cves.is_empty() {
        modinfo.push(("klp_cve", &cves));
    }
    let images = images(base, pairs)?;
    let parsed = images
        .iter()
        .map(|(path, bytes)| Ok((*path, Image::parse(bytes)?)))
        .collect::<Result<BTreeMap<_, _>, Error>>()?;
    let mut changed = Vec::new();
    for pair in pairs {
        let place = &pair.record.place;
        let environment = Environment {
            module: place.module(),
            image: parsed.get(place.image()),
            exports: Some(&exports),
            modinfo: &modinfo,
        };
        // Most objects that use a header are as before. None of those stays in memory.
        let bytes = (fs::read(&pair.original)?, fs::read(&pair.patched)?);
        if bytes.0 != bytes.1 && compare(pair.record, &bytes, &environment)?.is_some() {
            changed.push((pair.record, bytes, environment));
        }
    }
    let mut diffs = Vec::new();
    for (record, bytes, environment) in &changed {
        if let Some(diff) = compare(record, bytes, environment)? {
            for note in diff.notes() {
                eprintln!("note: {}: {note}", record.source.display());
            }
            diffs.push((diff, environment));
        }
    }
    ensure!(
        !diffs.is_empty(),
        "{}: {}",
        fix.path.display(),
        Error::NothingChanged
    );
    let mut functions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (diff, environment) in &diffs {
        let names = diff.functions().into_iter().map(str::to_owned);
        functions
            .entry(environment.module.unwrap_or("vmlinux"))
            .or_default()
            .extend(names);
    }
    let functions = functions
        .into_iter()
        .map(|(object, names)| (object.to_owned(), names))
        .collect();
    let parts: Vec<_> = diffs
        .iter()
        .map(|(diff, environment)| Part { diff, environment })
        .collect();
    let object = klp_diff::write_all(&parts)
        .with_context(|| format!("no live patch can be made of {}", fix.path.display()))?;
    let bytes = link::link(cx, base, &dir.join("modules").join(name), name, &object)?;
    Ok(Module { bytes, functions })
}

/// Returns the linked kernel and modules that the objects are part of, by their files.
fn images<'a>(base: &Base, pairs: &'a [Pair<'_>]) -> Result<BTreeMap<&'a Path, Vec<u8>>> {
    let mut images = BTreeMap::new();
    for pair in pairs {
        let path = pair.record.place.image();
        if !images.contains_key(path) {
            images.insert(path, image::read(&base.out.join(path))?);
        }
    }
    Ok(images)
}

/// Compares the two objects of a record. Returns nothing if no function changed.
fn compare<'d>(
    record: &Record,
    (original, patched): &'d (Vec<u8>, Vec<u8>),
    environment: &Environment<'_>,
) -> Result<Option<Diff<'d>>> {
    match Diff::new(original, patched, environment) {
        Err(Error::NothingChanged) => Ok(None),
        diff => Ok(Some(diff.with_context(|| {
            format!("no live patch can be made of {}", record.object.display())
        })?)),
    }
}
