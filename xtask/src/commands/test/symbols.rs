// SPDX-License-Identifier: GPL-2.0
//! Checks the names of the core's symbols. A name that is too long for kallsyms is lost to
//! backtraces.

use crate::kernel::make::Kernel;
use crate::tools::tally::Tally;
use anyhow::{bail, Context as _, Result};
use object::{Object, ObjectSymbol};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use steps::step;

/// `KSYM_NAME_LEN` of `include/linux/kallsyms.h`: the length of the longest name, including the NUL
/// that ends it.
const KSYM_NAME_LEN: usize = 512;

/// How many characters of a name are printed. The list of its closures tells the rest.
const SHOWN: usize = 120;

/// A symbol that kallsyms leaves out.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TooLong {
    length: usize,
    name: String,
}

/// Checks that kallsyms has room for every symbol of a kernel's livepatch core.
pub fn check(kernel: &Kernel) -> Tally {
    let title = format!(
        "Check the lengths of the {} core's symbols",
        kernel.target.name
    );
    Tally::check(step::work(&title, || all_short(&kernel.core_objects()?)))
}

fn all_short(objects: &[impl AsRef<Path>]) -> Result<()> {
    let (mut defined, mut long) = (0, Vec::new());
    for path in objects {
        let path = path.as_ref();
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let names = names(&data).with_context(|| path.display().to_string())?;
        defined += names.len();
        long.extend(too_long(&names));
    }
    if defined == 0 {
        bail!("the core's objects define no symbol: nothing was checked");
    }
    if !long.is_empty() {
        long.sort();
        bail!("{}", complaint(&long));
    }
    Ok(())
}

/// Returns the names of the functions and variables that an object defines.
fn names(object: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(object).context("this is no object")?;
    let defined = file.symbols().filter(|symbol| symbol.is_definition());
    defined
        .map(|symbol| Ok(symbol.name()?.to_owned()))
        .collect()
}

/// Returns the names that kallsyms leaves out.
fn too_long(names: &[String]) -> impl Iterator<Item = TooLong> + '_ {
    let long = names.iter().filter(|name| name.len() >= KSYM_NAME_LEN);
    long.map(|name| TooLong {
        length: name.len(),
        name: name.clone(),
    })
}

fn complaint(long: &[TooLong]) -> String {
    let mut text = format!(
        "{} symbols are too long for kallsyms, which takes {} bytes, so no backtrace names them:",
        long.len(),
        KSYM_NAME_LEN - 1
    );
    for TooLong { length, name } in long {
        let readable = format!("{:#}", rustc_demangle::demangle(name));
        let shown: String = readable.chars().take(SHOWN).collect();
        let more = if shown == readable { "" } else { " ..." };
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {length} bytes: {shown}{more}");
        let closures = closures(&readable);
        if !closures.is_empty() {
            let _ = write!(text, "\n    made of {}", closures.join(", "));
        }
    }
    text.push_str(
        "\nnext: a name spells out the type of every closure and iterator in it. Where these functions \
         chain iterators, write a loop; or name a closure, as a `fn`; or pass a slice in place of an \
         `impl Iterator`",
    );
    text
}

/// Returns the closures in a readable name, each once. A closure is named after the function it is
/// written in.
fn closures(name: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (at, _) in name.match_indices("::{closure#") {
        let (before, after) = name.split_at(at);
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let function = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
        let number = after.split_inclusive('}').next().unwrap_or_default();
        if !function.is_empty() {
            found.insert(format!("{function}{number}"));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

    /// Returns an object that defines functions of these names, and uses another one.
    fn object(defines: &[&str], uses: &str) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::S390x, Endianness::Big);
        let text = object.section_id(object::write::StandardSection::Text);
        let mut add = |name: &str, section| {
            object.add_symbol(Symbol {
                name: name.into(),
                value: 0,
                size: 4,
                kind: SymbolKind::Text,
                scope: SymbolScope::Compilation,
                weak: false,
                section,
                flags: SymbolFlags::None,
            });
        };
        for name in defines {
            add(name, SymbolSection::Section(text));
        }
        add(uses, SymbolSection::Undefined);
        object.write().unwrap()
    }

    fn checked(objects: &[Vec<u8>]) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let write = |(n, data): (usize, &Vec<u8>)| {
            let path = dir.path().join(format!("{n}.o"));
            fs::write(&path, data).unwrap();
            path
        };
        let paths: Vec<_> = objects.iter().enumerate().map(write).collect();
        all_short(&paths)
    }

    #[test]
    fn the_longest_name_that_fits_has_511_bytes() {
        let (fits, does_not) = ("f".repeat(511), "g".repeat(512));
        assert!(checked(&[object(&[&fits], "other")]).is_ok());
        let good = object(&["short"], "other");
        let error = checked(&[good, object(&["short", &does_not, &fits], "other")]);
        let error = format!("{:#}", error.unwrap_err());
        for part in ["1 symbols", "512 bytes: ggg", "next: ", "write a loop"] {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
        assert!(!error.contains("fff"), "{error}");
    }

    #[test]
    fn what_is_defined_elsewhere_is_not_the_cores() {
        assert!(checked(&[object(&["short"], &"u".repeat(600))]).is_ok());
    }

    #[test]
    fn nothing_to_check_is_a_failure() {
        for none in [vec![], vec![object(&[], "other")], vec![b"text".to_vec()]] {
            assert!(checked(&none).is_err());
        }
    }

    #[test]
    fn closures_are_named_once_by_the_function_they_are_in() {
        let name = "<core::iter::Map<A, <livepatch_core::registry::Core<L>>::settle::{closure#0}, \
                    <livepatch_core::registry::Core<L>>::settle::{closure#1}>>::{closure#7}::<\
                    <livepatch_core::registry::Core<L>>::settle::{closure#0}>";
        assert_eq!(
            closures(name),
            ["settle::{closure#0}", "settle::{closure#1}"]
        );
        assert!(closures("livepatch_core::stack::check").is_empty());
    }

    #[test]
    fn a_mangled_name_is_made_readable_and_cut() {
        // A closure in `two` of a crate `one`, many times as a generic argument of one function.
        let name = format!("_RINvC3one4four{}E", "NCNvC3one3two0".repeat(40));
        let long = [TooLong {
            length: name.len(),
            name,
        }];
        let text = complaint(&long);
        assert!(
            text.contains("one::four::<one::two::{closure#0}, "),
            "{text}"
        );
        assert!(text.contains("made of two::{closure#0}\n"), "{text}");
        assert!(text.lines().all(|line| line.len() < 300), "{text}");
    }
}
