// SPDX-License-Identifier: GPL-2.0
//! Objects that no compiler makes never panic the engine, and what it makes of them can be read.
//!
//! `PROPTEST_CASES` sets the number of inputs; `cargo xtask verify patches` tries a million.

mod tools;

use klp_diff::{finish, Diff, Environment};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::Path;
use std::sync::OnceLock;
use tools::{Module, COMPILERS, RUST_COMPILERS};

/// Sources whose objects have most of what an object can have.
const SOURCES: &[&str] = &[
    "bug_entry",
    "jump_label",
    "static_local",
    "switch_table",
    "together",
];

/// Such sources in Rust, by architecture.
const RUST_SOURCES: &[(&str, &str)] = &[
    ("x86_64", "rust_location"),
    ("arm64", "rust_impl"),
    ("arm64", "rust_new"),
    ("arm64", "rust_vtable"),
];

/// Pairs of objects of every compiler.
fn pairs() -> &'static [(Vec<u8>, Vec<u8>)] {
    static PAIRS: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let c = COMPILERS.iter();
        let c = c.flat_map(|compiler| SOURCES.iter().map(move |source| (compiler, *source)));
        let rust = RUST_COMPILERS.iter().flat_map(|compiler| {
            let own = RUST_SOURCES
                .iter()
                .filter(|(arch, _)| *arch == compiler.arch);
            own.map(move |(_, source)| (compiler, *source))
        });
        let pairs = c.chain(rust).map(|(compiler, source)| {
            compiler.require();
            let path = directory.join(source).with_extension(compiler.extension());
            (
                compiler.compile(&path, &[]),
                compiler.compile(&path, &["-DPATCHED"]),
            )
        });
        pairs.collect()
    })
}

/// Overwrites bytes of an object, and cuts it off.
fn mutate(object: &[u8], changes: &[(Index, u8)], end: Option<Index>) -> Vec<u8> {
    let mut bytes = object.to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    if let Some(end) = end {
        bytes.truncate(end.index(object.len() + 1));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_object_never_panics(
        pair in any::<Index>(),
        original in any::<bool>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..12),
        end in proptest::option::weighted(0.1, any::<Index>()),
    ) {
        let (one, other) = pair.get(pairs());
        let (one, other) = match original {
            true => (mutate(one, &changes, end), other.clone()),
            false => (one.clone(), mutate(other, &changes, end)),
        };
        let environment = Environment::default();
        if let Ok(diff) = Diff::new(&one, &other, &environment) {
            if let Ok(written) = diff.write(&environment) {
                let module = finish::finish(&written).expect("a module that was written is readable");
                Module::read(&module);
            }
        }
    }

    #[test]
    fn a_mutated_module_never_panics(
        pair in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..12),
    ) {
        let (one, other) = pair.get(pairs());
        let environment = Environment::default();
        if let Ok(diff) = Diff::new(one, other, &environment) {
            let written = diff.write(&environment).expect("the pair is one of the corpus");
            drop(finish::finish(&mutate(&written, &changes, None)));
        }
    }
}

#[cfg(feature = "seeds")]
#[test]
fn seeds_for_the_fuzzer() {
    let directory = std::env::var_os("FUZZ_SEEDS").expect("FUZZ_SEEDS names a directory");
    let put = |target: &str, index: usize, bytes: &[u8]| {
        let directory = Path::new(&directory).join(target);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(index.to_string()), bytes).unwrap();
    };
    let environment = Environment::default();
    for (index, (one, other)) in pairs().iter().enumerate() {
        let size = u32::try_from(one.len()).unwrap().to_le_bytes();
        put("pairs", index, &[&size[..], one, other].concat());
        // Some are refused.
        if let Ok(diff) = Diff::new(one, other, &environment) {
            put("modules", index, &diff.write(&environment).unwrap());
        }
    }
}

#[test]
fn neither_the_directory_nor_the_lines_of_the_source_make_a_difference() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["line.c", "bug_entry.c", "kernel.h"] {
        let text = std::fs::read_to_string(corpus.join(name)).unwrap();
        let lower = "\n".repeat(300) + &text;
        std::fs::write(elsewhere.path().join(name), lower).unwrap();
    }
    for compiler in &COMPILERS {
        for name in ["line.c", "bug_entry.c"] {
            let here = compiler.compile(&corpus.join(name), &[]);
            let there = compiler.compile(&elsewhere.path().join(name), &[]);
            let environment = Environment::default();
            let result = Diff::new(&here, &there, &environment).map(|diff| diff.selection.changed);
            assert_eq!(
                result,
                Err(klp_diff::Error::NothingChanged),
                "{} {name}",
                compiler.name
            );
        }
    }
}
