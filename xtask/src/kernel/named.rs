// SPDX-License-Identifier: GPL-2.0
//! The kernel configurations that `test --config` and `bench --config` know by name.

use crate::kernel::flavour::Flavour;
use anyhow::{bail, Result};
use std::str::FromStr;

/// A configuration with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// What is special about it, in a few words.
    pub about: &'static str,
    /// What it is.
    pub flavour: Flavour,
}

/// Every named configuration.
pub static NAMED: &[Named] = &[
    named("gcc", "what all other tests use", Flavour::Plain),
    named("clang", "built with clang", Flavour::Clang),
    named("clang-inline", "RUST_INLINE_HELPERS", Flavour::ClangInline),
    named("cfi", "CFI: indirect calls are checked", Flavour::Cfi),
    named("thinlto", "LTO_CLANG_THIN", Flavour::ThinLto),
    named("rt", "PREEMPT_RT", Flavour::Rt),
    named(
        "modversions",
        "MODVERSIONS, with gendwarfksyms",
        Flavour::ModVersions,
    ),
    named(
        "kasan",
        "KASAN, lockdep, kmemleak and the like",
        Flavour::Debug,
    ),
    named("kcsan", "KCSAN: data races are detected", Flavour::Kcsan),
    named(
        "nohz",
        "NO_HZ_FULL: a CPU without a tick",
        Flavour::NoHzFull,
    ),
    named(
        "rust-trace",
        "RUST_FUNCTION_TRACER: Rust functions have patch sites; doctests",
        Flavour::RustTrace,
    ),
    named(
        "distribution",
        "systemd, kpatch(1) and a debugger beside klpctl",
        Flavour::Distribution,
    ),
];

const fn named(name: &'static str, about: &'static str, flavour: Flavour) -> Named {
    Named {
        name,
        about,
        flavour,
    }
}

/// The configurations that one flag names: one, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection(&'static [Named]);

impl FromStr for Selection {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "all" => Ok(Self(NAMED)),
            name => find(name).map(|named| Self(std::slice::from_ref(named))),
        }
    }
}

/// Returns the configuration with that name. The error has the list of all.
pub fn find(name: &str) -> Result<&'static Named> {
    if let Some(named) = NAMED.iter().find(|named| named.name == name) {
        return Ok(named);
    }
    let width = NAMED
        .iter()
        .map(|named| named.name.len())
        .max()
        .unwrap_or(0);
    let known = NAMED
        .iter()
        .map(|Named { name, about, .. }| format!("\n  {name:width$}  {about}"));
    bail!(
        "no configuration is called `{name}`: known are `all`, and{}",
        known.collect::<String>()
    )
}

/// Returns the configurations that some flags name, each once, in the order of the flags.
pub fn selected(flags: &[Selection]) -> Vec<&'static Named> {
    let mut selected: Vec<&Named> = Vec::new();
    for named in flags.iter().flat_map(|selection| selection.0) {
        if !selected.contains(&named) {
            selected.push(named);
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn names(flags: &[&str]) -> Vec<&'static str> {
        let flags = flags.iter().map(|flag| flag.parse().unwrap());
        let flags: Vec<Selection> = flags.collect();
        selected(&flags).iter().map(|named| named.name).collect()
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "gc".parse::<Selection>().unwrap_err().to_string();
        assert!(error.contains("`gc`") && error.contains("`all`"), "{error}");
        for named in NAMED {
            let line = error
                .lines()
                .find(|line| line.trim_start().starts_with(named.name));
            assert!(
                line.is_some_and(|line| line.ends_with(named.about)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_configuration_named_twice_is_tested_once() {
        assert_eq!(names(&["rt", "cfi", "rt"]), ["rt", "cfi"]);
        let all = names(&["rt", "all"]);
        assert_eq!((all[0], all.len()), ("rt", NAMED.len()));
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn names_and_build_directories_differ_and_have_their_fragments() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("kconfig");
        for (index, named) in NAMED.iter().enumerate() {
            for fragment in named.flavour.fragments() {
                let path = dir.join(format!("{fragment}.config"));
                assert!(path.exists(), "{}", path.display());
            }
            for other in &NAMED[index + 1..] {
                assert_ne!(named.name, other.name);
                assert_ne!(named.flavour.suffix(), other.flavour.suffix());
            }
        }
    }
}
