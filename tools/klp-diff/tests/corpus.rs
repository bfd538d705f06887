// SPDX-License-Identifier: GPL-2.0
//! Small sources in C and Rust with a change each, compiled by every compiler, and what the module has to hold.
//!
//! A source is compiled as it is, and with `PATCHED` defined. The comments at its start say what is
//! expected, as lists of names without the compiler's numbers:
//!
//! | line | meaning |
//! |---|---|
//! | `nothing` | no function changes |
//! | `refused: SYMBOL REASON` | the change is refused |
//! | `changed:` | the functions that the module replaces |
//! | `new:` | the other functions in it |
//! | `data:` | the variables in it |
//! | `outside:` | the symbols that livepatch has to find |
//! | `external:` | the other symbols that it refers to, besides those of every function |
//! | `entries: SECTION NUMBER` | the relocated entries of special sections |
//! | `modinfo:` | fields of the module's information |
//! | `notes:` | what the notes name |
//! | `replaces:` | the whole names of the functions that the module replaces |
//! | `functions:` | the whole names of the functions in it |
//! | `needs:` | a symbol of the patched object; compilers that make none are left out |
//! | `only:` | the compilers, their families or architectures, where not all |
//! | `flags:` | more flags for the compiler |
//! | `files:` | what each file of the patch is part of: `vmlinux` or a module |
//! | `exports:` | what the kernel exports, and modules (`module:symbol`); without it, everything that another object defines |
//! | `objects:` | the kernel objects in the module, each with the number of its functions |
//! | `sections:` | sections that the module has, with nothing behind the name |
//! | `lists:` | the lists of livepatch relocations: object, then section |
//!
//! With `files:`, the source is compiled as `FILE` 1, 2 and so on.

mod tools;

use klp_diff::outside::Exports;
use klp_diff::{write_all, Diff, Environment, Error, Part};
use object::Object;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tools::{Compiler, Module, COMPILERS, RUST_COMPILERS};

/// The expectations of a source.
struct Expected(BTreeMap<String, String>);

impl Expected {
    fn parse(source: &str) -> Self {
        let lines = source
            .lines()
            .skip(1)
            .filter_map(|line| line.strip_prefix("// "));
        let keyed = lines.map(|line| match line.split_once(": ") {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (line.to_owned(), String::new()),
        });
        Self(keyed.collect())
    }

    fn list(&self, key: &str) -> Vec<String> {
        let words = self.0.get(key).map(String::as_str).unwrap_or_default();
        let mut list: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        list.sort();
        list
    }

    /// Returns `Module.symvers` of a kernel that exports what is said, and what every function needs.
    fn exports(&self) -> Option<String> {
        self.0.get("exports")?;
        let mut names = self.list("exports");
        names.extend(tools::ALWAYS.iter().map(|name| (*name).to_owned()));
        let lines = names.iter().map(|name| {
            let (object, name) = name.split_once(':').unwrap_or(("vmlinux", name));
            format!("0x0\t{name}\t{object}\tEXPORT_SYMBOL\t\n")
        });
        Some(lines.collect())
    }

    fn is_for(&self, compiler: &Compiler) -> bool {
        let only = self.list("only");
        only.is_empty()
            || only.iter().any(|name| {
                [compiler.name, compiler.arch, compiler.family].contains(&name.as_str())
            })
    }
}

fn sources(extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut sources: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    sources.sort();
    sources
}

/// Returns the same error: the library's can't be cloned.
fn copied(error: &Error) -> Error {
    match error {
        Error::Refused(refusals) => Error::Refused(refusals.clone()),
        Error::NothingChanged => Error::NothingChanged,
        other => panic!("{other}"),
    }
}

fn has_symbol(object: &[u8], name: &str) -> bool {
    let object = object::File::parse(object).unwrap();
    object.symbol_by_name(name).is_some()
}

/// Returns what is wrong with the decision on one source.
fn judge(source: &Path, compiler: &Compiler) -> Vec<String> {
    let text = std::fs::read_to_string(source).unwrap();
    let expected = Expected::parse(&text);
    if !expected.is_for(compiler) {
        return Vec::new();
    }
    let flags = expected.list("flags");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let exports = expected.exports();
    let exports = exports.as_deref().map(Exports::parse);
    let owners = expected.0.get("files").map_or("vmlinux", String::as_str);
    let files: Vec<_> = owners.split_whitespace().zip(1..).collect();
    let files: Vec<_> = files
        .iter()
        .map(|&(owner, number)| {
            let number = format!("-DFILE={number}");
            let compile = |more: &[&str]| {
                let all = [flags.as_slice(), &[number.as_str()], more].concat();
                compiler.compile(source, &all)
            };
            let environment = Environment {
                module: (owner != "vmlinux").then_some(owner),
                exports: exports.as_ref(),
                ..Environment::default()
            };
            (compile(&[]), compile(&["-DPATCHED"]), environment)
        })
        .collect();
    let (_, patched, _) = &files[0];
    if expected
        .0
        .get("needs")
        .is_some_and(|name| !has_symbol(patched, name))
    {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut check = |what: &str, found: Vec<String>, expected: Vec<String>| {
        if found != expected {
            faults.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    };
    let diffs = files.iter().map(|(original, patched, environment)| {
        Diff::new(original, patched, environment).map(|diff| (diff, environment))
    });
    // A file in which nothing changes is left out.
    let unchanged = |result: &Result<_, Error>| !matches!(result, Err(Error::NothingChanged));
    let diffs: Result<Vec<_>, Error> = diffs.filter(unchanged).collect();
    let result = diffs.as_ref().map_err(copied).and_then(|diffs| {
        let parts: Vec<_> = diffs
            .iter()
            .map(|(diff, environment)| Part { diff, environment })
            .collect();
        let written = write_all(&parts);
        assert_eq!(written, write_all(&parts), "the module is not reproducible");
        written
    });
    let written = match (result, expected.0.get("refused")) {
        (Ok(written), None) => written,
        (Err(Error::NothingChanged), None) if expected.0.contains_key("nothing") => {
            return Vec::new()
        }
        (Err(Error::Refused(refusals)), Some(refused)) => {
            let found = refusals.iter().map(|refusal| {
                let reason = format!("{:?}", refusal.reason);
                let reason = reason.split('(').next().unwrap_or_default();
                format!("{} {reason}", tools::plain(&refusal.symbol))
            });
            let mut found: Vec<_> = found.collect();
            found.dedup();
            check("refused", found, vec![refused.clone()]);
            return faults;
        }
        (Ok(_), Some(_)) => return vec!["not refused".to_owned()],
        (Err(error), _) => return vec![error.to_string()],
    };
    let diffs = diffs.unwrap();
    if expected.0.contains_key("nothing") {
        return vec!["something changed".to_owned()];
    }
    let module = Module::read(&klp_diff::finish::finish(&written).unwrap());
    for key in ["changed", "new", "data", "outside", "external"] {
        check(key, module.names(key), expected.list(key));
    }
    if let Some(entries) = expected.0.get("entries") {
        let (section, number) = entries.split_once(' ').unwrap();
        check(
            section,
            vec![module.entries(section).to_string()],
            vec![number.into()],
        );
    }
    if expected.0.contains_key("modinfo") {
        let mut found = module.modinfo.clone();
        found.sort();
        check("modinfo", found, expected.list("modinfo"));
    }
    for key in ["replaces", "functions"] {
        if expected.0.contains_key(key) {
            check(key, module.whole_names(key), expected.list(key));
        }
    }
    for name in expected.list("sections") {
        check("sections", module.sections_of(&name), vec![name]);
    }
    for key in ["objects", "lists"] {
        if expected.0.contains_key(key) {
            let mut found = match key {
                "objects" => module.objects(),
                _ => module.lists(),
            };
            found.sort();
            check(key, found, expected.list(key));
        }
    }
    let notes: Vec<_> = diffs.iter().flat_map(|(diff, _)| diff.notes()).collect();
    let named = notes.iter().filter_map(|note| note.split('`').nth(1));
    let mut named: Vec<_> = named.map(str::to_owned).collect();
    named.sort();
    check("notes", named, expected.list("notes"));
    faults.extend(module.faults());
    faults.extend(compiler.link(&written));
    faults
}

fn corpus(name: &str) {
    let mut compilers = COMPILERS.iter().chain(&RUST_COMPILERS);
    let compiler = compilers.find(|compiler| compiler.name == name).unwrap();
    compiler.require();
    let mut faults = Vec::new();
    for source in sources(compiler.extension()) {
        let found = judge(&source, compiler);
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn x86_64_gcc() {
    corpus("x86_64-gcc");
}

#[test]
fn x86_64_clang() {
    corpus("x86_64-clang");
}

#[test]
fn arm64_gcc() {
    corpus("arm64-gcc");
}

#[test]
fn arm64_clang() {
    corpus("arm64-clang");
}

#[test]
fn s390_gcc() {
    corpus("s390-gcc");
}

#[test]
fn powerpc_gcc() {
    corpus("powerpc-gcc");
}

#[test]
fn powerpc_clang() {
    corpus("powerpc-clang");
}

#[test]
fn x86_64_rustc() {
    corpus("x86_64-rustc");
}

#[test]
fn arm64_rustc() {
    corpus("arm64-rustc");
}

/// A source that no compiler makes the symbol of that it needs would test nothing.
#[test]
fn each_source_has_a_compiler_that_makes_what_it_needs() {
    for source in sources("c") {
        let expected = Expected::parse(&std::fs::read_to_string(&source).unwrap());
        let Some(name) = expected.0.get("needs") else {
            continue;
        };
        let compilers = COMPILERS
            .iter()
            .filter(|compiler| expected.is_for(compiler));
        let makes = |compiler: &&Compiler| {
            compiler.require();
            has_symbol(&compiler.compile(&source, &["-DPATCHED"]), name)
        };
        let made: Vec<_> = compilers
            .filter(makes)
            .map(|compiler| compiler.name)
            .collect();
        assert!(
            !made.is_empty(),
            "{}: no compiler makes {name}",
            source.display()
        );
        println!("{name} comes from {}", made.join(", "));
    }
}
