// SPDX-License-Identifier: GPL-2.0
//! From the pairs of objects to one object, by the patch engine.

use crate::base::Base;
use crate::compile::Pair;
use crate::image;
use crate::record::Record;
use anyhow::{bail, Result};
use klp_diff::outside::{Exports, Image};
use klp_diff::{runtime, Diff, Environment, Error, Input, Part};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Of how many objects the refusals are shown. A header may lead to the same one in hundreds.
const SHOWN: usize = 5;

/// One object of all pairs.
#[derive(Debug)]
pub struct Combined {
    /// The content of its file, to be linked.
    pub object: Vec<u8>,
    /// The kernel or module that each function is for: those that changed, and new ones.
    pub functions: Vec<(String, Vec<String>)>,
}

/// A pair that differs.
struct Changed<'a> {
    record: &'a Record,
    original: Vec<u8>,
    patched: Vec<u8>,
    environment: Environment<'a>,
}

/// Compares each pair, and makes one object of those that differ. Prints the engine's notes.
pub fn combine(
    base: &Base,
    pairs: &[Pair<'_>],
    exports: &Exports<'_>,
    (modinfo, replace): (&[(&str, &str)], Option<bool>),
) -> Result<Combined> {
    let files = images(base, pairs)?;
    let mut images = BTreeMap::new();
    for (path, bytes) in &files {
        images.insert(*path, Image::parse(bytes)?);
    }
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for pair in pairs {
        let record = pair.record;
        let environment = Environment {
            module: record.place.module(),
            image: images.get(record.place.image()),
            exports: Some(exports),
            modinfo,
            replace,
        };
        let (original, patched) = (fs::read(&pair.original)?, fs::read(&pair.patched)?);
        if original == patched {
            continue;
        }
        let original = runtime::plain(Input::Original, &original)?.into_owned();
        let patched = runtime::plain(Input::Patched, &patched)?.into_owned();
        // Most objects that use a header are as before. None of those stays in memory.
        match Diff::new(&original, &patched, &environment).map(drop) {
            Err(Error::NothingChanged) => {}
            Err(error) => refused.push(format!("{}: {error}", record.object.display())),
            Ok(()) => changed.push(Changed {
                record,
                original,
                patched,
                environment,
            }),
        }
    }
    refuse(&refused)?;
    written(&changed)
}

/// Writes one object of these pairs.
fn written(changed: &[Changed<'_>]) -> Result<Combined> {
    let mut diffs = Vec::new();
    for one in changed {
        let diff = Diff::new(&one.original, &one.patched, &one.environment)?;
        for note in diff.notes() {
            eprintln!("note: {}: {note}", one.record.source.display());
        }
        diffs.push(diff);
    }
    if diffs.is_empty() {
        bail!(Error::NothingChanged);
    }
    let mut functions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut parts = Vec::new();
    for (diff, one) in diffs.iter().zip(changed) {
        let environment = &one.environment;
        let object = environment.module.unwrap_or("vmlinux");
        let mut names = diff.functions();
        // objtool names the padding before a function. Nobody calls it.
        names.retain(|name| !name.starts_with("__pfx_"));
        let names = names.into_iter().map(str::to_owned);
        functions.entry(object).or_default().extend(names);
        parts.push(Part { diff, environment });
    }
    Ok(Combined {
        object: klp_diff::write_all(&parts)?,
        functions: functions
            .into_iter()
            .map(|(object, names)| (object.to_owned(), names))
            .collect(),
    })
}

/// Fails if an object was refused. Each refusal begins with the object.
fn refuse(refused: &[String]) -> Result<()> {
    match refused.len() {
        0 => Ok(()),
        count if count <= SHOWN => bail!("{}", refused.join("\n")),
        count => bail!(
            "{}\nand {} objects more",
            refused[..SHOWN].join("\n"),
            count - SHOWN
        ),
    }
}

/// Returns the linked kernel and modules that the objects are part of, by their files.
pub fn images<'a>(base: &Base, pairs: &[Pair<'a>]) -> Result<BTreeMap<&'a Path, Vec<u8>>> {
    let mut images = BTreeMap::new();
    for pair in pairs {
        let path = pair.record.place.image();
        if !images.contains_key(path) {
            images.insert(path, image::read(&base.out.join(path))?);
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_many_objects_are_cut_short() {
        let refused: Vec<_> = (0..7).map(|n| format!("{n}.o: it changed")).collect();
        assert!(refuse(&[]).is_ok());
        let text = |refused: &[String]| refuse(refused).unwrap_err().to_string();
        assert_eq!(text(&refused[..1]), "0.o: it changed");
        let text = text(&refused);
        assert!(text.contains("4.o") && !text.contains("5.o"), "{text}");
        assert!(text.ends_with("and 2 objects more"), "{text}");
    }
}
