// SPDX-License-Identifier: GPL-2.0
//! Positions of symbols in an image, and what is exported.

mod tools;

use klp_diff::outside::{Exports, Image};
use klp_diff::{Diff, Environment, Error, Reason};
use std::path::{Path, PathBuf};
use tools::COMPILERS;

/// Compiles sources, which are given as names and texts, and links them.
fn image(directory: &Path, sources: &[(&str, &str)]) -> Vec<u8> {
    let compiler = &COMPILERS[0];
    compiler.require();
    let mut objects: Vec<PathBuf> = Vec::new();
    for (name, text) in sources {
        let source = directory.join(name);
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::write(&source, text).unwrap();
        let object = source.with_extension("o");
        std::fs::write(&object, compiler.compile(&source, &[])).unwrap();
        objects.push(object);
    }
    let linked = directory.join("image");
    let mut command = std::process::Command::new("ld");
    command
        .args(["-e", "0", "--unresolved-symbols=ignore-all", "-o"])
        .arg(&linked)
        .args(&objects);
    assert!(command.status().unwrap().success());
    std::fs::read(linked).unwrap()
}

const FIRST: &str = "extern int consume(int); static __attribute__((noinline)) int twin(int n) \
                     { return consume(n) + 1; } int first(int n) { return twin(n); }";
const SECOND: &str = "extern int consume(int); static __attribute__((noinline)) int twin(int n) \
                      { return consume(n) + 2; } int second(int n) { return twin(n) + STEP; }";

/// Returns the names of undefined symbols of the module for a change of `second`.
fn module(environment: &Environment<'_>) -> Result<Vec<String>, Error> {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("b.c");
    std::fs::write(&source, SECOND).unwrap();
    let compile = |step| COMPILERS[0].compile(&source, &[step]);
    let (original, patched) = (compile("-DSTEP=1"), compile("-DSTEP=2"));
    let diff = Diff::new(&original, &patched, environment)?;
    let written = klp_diff::finish::finish(&diff.write(environment)?)?;
    let text = String::from_utf8_lossy(&written).into_owned();
    let names = text
        .split('\0')
        .filter(|name| name.starts_with(".klp.sym."));
    Ok(names.map(str::to_owned).collect())
}

/// Returns those names for a kernel that is linked from sources.
fn module_of(sources: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    let directory = tempfile::tempdir().unwrap();
    let linked = image(directory.path(), sources);
    let image = Image::parse(&linked).unwrap();
    module(&Environment {
        image: Some(&image),
        ..Environment::default()
    })
}

#[test]
fn the_file_tells_symbols_of_one_name_apart() {
    let second = SECOND.replace("STEP", "1");
    let module = module_of(&[("a.c", FIRST), ("b.c", &second)]);
    assert_eq!(module.unwrap(), [".klp.sym.vmlinux.twin,2"]);
}

#[test]
fn a_unique_symbol_has_position_zero() {
    let second = SECOND.replace("STEP", "1");
    let module = module_of(&[("b.c", &second)]);
    assert_eq!(module.unwrap(), [".klp.sym.vmlinux.twin,0"]);
}

#[test]
fn symbols_that_nothing_tells_apart_are_refused() {
    let second = SECOND.replace("STEP", "1");
    let other = second.replace("second", "third");
    let module = module_of(&[("x/b.c", &second), ("y/b.c", &other)]);
    let Err(Error::Refused(refusals)) = module else {
        panic!("not refused")
    };
    assert_eq!(refusals[0].symbol, "twin");
    assert_eq!(refusals[0].reason, Reason::NotUnique(2));
}

#[test]
fn a_symbol_that_the_image_lacks_is_refused() {
    let module = module_of(&[("a.c", "int alone(void) { return 1; }")]);
    let Err(Error::Refused(refusals)) = module else {
        panic!("not refused")
    };
    assert!(refusals
        .iter()
        .all(|refusal| refusal.reason == Reason::NotInImage));
}

#[test]
fn what_is_not_exported_is_found_by_livepatch() {
    let calls = "extern int consume(int), hidden(int); int f(int n) \
                 { return consume(n) + hidden(n) + STEP; }";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("f.c");
    std::fs::write(&source, calls).unwrap();
    let compile = |step| COMPILERS[0].compile(&source, &[step]);
    let (original, patched) = (compile("-DSTEP=1"), compile("-DSTEP=2"));
    let exports = Exports::parse(
        "0x1\tconsume\tvmlinux\tEXPORT_SYMBOL\t\n0x2\t__fentry__\tvmlinux\tEXPORT_SYMBOL\t\n",
    );
    let environment = Environment {
        module: Some("driver"),
        exports: Some(&exports),
        ..Environment::default()
    };
    let diff = Diff::new(&original, &patched, &environment).unwrap();
    let written = klp_diff::finish::finish(&diff.write(&environment).unwrap()).unwrap();
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains(".klp.sym.vmlinux.hidden,0\0"));
    assert!(text.contains(".klp.rela.vmlinux..text.f\0"));
    assert!(!text.contains(".klp.sym.vmlinux.consume"));
    assert!(text.contains("driver\0"));
}

#[test]
fn a_new_function_that_another_file_of_the_image_has_is_refused() {
    let text = "extern int consume(int); int f(int n) { return consume(n) + STEP; }\n\
                #if STEP == 2\nint first(int n) { return consume(n) * 7; }\n#endif\n";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("f.c");
    std::fs::write(&source, text).unwrap();
    let compile = |step| COMPILERS[0].compile(&source, &[step]);
    let (original, patched) = (compile("-DSTEP=1"), compile("-DSTEP=2"));
    let before = text.replace("STEP", "1");
    let linked = image(directory.path(), &[("a.c", FIRST), ("g.c", &before)]);
    let image = Image::parse(&linked).unwrap();
    let environment = Environment {
        image: Some(&image),
        ..Environment::default()
    };
    let diff = Diff::new(&original, &patched, &environment).unwrap();
    let Err(Error::Refused(refusals)) = diff.write(&environment) else {
        panic!("not refused")
    };
    assert_eq!(refusals[0].symbol, "first");
    assert_eq!(refusals[0].reason, Reason::Moved);
}

#[test]
fn what_is_exported_for_certain_modules_is_not_exported() {
    let exports = Exports::parse(
        "0x0\tkmalloc\tvmlinux\tEXPORT_SYMBOL\t\n\
         0x0\tkptr_restrict\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:printf_kunit\n\
         0x0\tfoo\tdrivers/foo/foo\tEXPORT_SYMBOL_GPL\tFOO\n",
    );
    assert_eq!(exports.exporter("kmalloc"), Some("vmlinux"));
    assert_eq!(exports.exporter("kptr_restrict"), None);
    assert_eq!(exports.exporter("foo"), Some("foo"));
}
