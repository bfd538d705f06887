// SPDX-License-Identifier: GPL-2.0
//! Whether a live patch replaces all others, as its author and the caller of the engine say.

mod tools;

use klp_diff::{Diff, Environment, Error, Reason};
use object::{Object, ObjectSection};
use tools::COMPILERS;

/// A function that changes, and what the author says of replacing, if `WISH` is defined.
const SOURCE: &str = r#"
extern int consume(int);
int f(int n) { return consume(n) + STEP; }
#ifdef WISH
static int wish __attribute__((used, section(".discard.klp_replace"))) = WISH;
#endif
"#;

/// Returns what the module says if the author says `author` and the caller `replace`.
fn module(author: &[&str], replace: Option<bool>) -> Result<Option<u8>, Error> {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("b.c");
    std::fs::write(&source, SOURCE).unwrap();
    COMPILERS[0].require();
    let original = COMPILERS[0].compile(&source, &["-DSTEP=1"]);
    let patched = COMPILERS[0].compile(&source, &[&["-DSTEP=2"], author].concat());
    let environment = Environment {
        replace,
        ..Environment::default()
    };
    let written = Diff::new(&original, &patched, &environment)?.write(&environment)?;
    let object = object::File::parse(&*written).unwrap();
    let section = object.section_by_name(".init.klp_replace");
    Ok(section.map(|section| section.data().unwrap()[0]))
}

#[test]
fn the_caller_says_it_where_the_author_does_not() {
    assert_eq!(module(&[], None).unwrap(), None);
    assert_eq!(module(&[], Some(false)).unwrap(), Some(0));
    assert_eq!(module(&[], Some(true)).unwrap(), Some(1));
    assert_eq!(module(&["-DWISH=0"], Some(false)).unwrap(), Some(0));
}

#[test]
fn the_author_and_the_caller_have_to_agree() {
    let Err(Error::Refused(refusals)) = module(&["-DWISH=0"], Some(true)) else {
        panic!("it is not refused");
    };
    assert!(matches!(refusals[0].reason, Reason::Wishes(_)));
}
