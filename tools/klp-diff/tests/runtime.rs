// SPDX-License-Identifier: GPL-2.0
//! Runtime constants: instructions that the kernel writes values into at boot.

mod tools;

use klp_diff::{runtime, Diff, Environment, Error, Input};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use tools::COMPILERS;

/// A constant in a low and in a high register.
const SOURCE: &str = r#"
extern unsigned long LIMIT;
extern int consume(unsigned long, unsigned long);
#define CONSTANT(name, variable, sequence)					\
	register unsigned long name asm(#name);					\
	asm volatile(sequence "\n1:\n.pushsection runtime_ptr_" #variable ",\"a\"\n"	\
		     ".long 1b - 8 - .\n.popsection" : "=r"(name))
int second(unsigned long n)
{
	CONSTANT(rdi, LIMIT, SEQUENCE "%0");
	CONSTANT(r9, LIMIT, SEQUENCE "%0");
	return consume(rdi, r9) + (n < STEP);
}
"#;

fn compile(step: &str, sequence: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("b.c");
    let defines = format!("#define STEP {step}\n#define SEQUENCE \"{sequence}\"\n");
    std::fs::write(&source, defines + SOURCE).unwrap();
    COMPILERS[0].require();
    COMPILERS[0].compile(&source, &[])
}

const USUAL: &str = "movabs $0x0123456789abcdef, ";

#[test]
fn a_runtime_constant_becomes_a_load_of_the_variable() {
    let (original, patched) = (compile("1", USUAL), compile("1000", USUAL));
    let environment = Environment::default();
    let refused = Diff::new(&original, &patched, &environment).map(drop);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");

    let original = runtime::plain(Input::Original, &original).unwrap();
    let patched = runtime::plain(Input::Patched, &patched).unwrap();
    let diff = Diff::new(&original, &patched, &environment).unwrap();
    assert_eq!(diff.functions(), ["second"]);
    let module = diff.write(&environment).unwrap();
    let module = object::File::parse(&*module).unwrap();
    let code = module.section_by_name(".text.second").unwrap();
    let mut loads = Vec::new();
    for (at, relocation) in code.relocations() {
        let RelocationTarget::Symbol(symbol) = relocation.target() else {
            continue;
        };
        let name = module.symbol_by_index(symbol).unwrap().name().unwrap();
        if name == "LIMIT" {
            assert_eq!(relocation.addend(), -4);
            let at = usize::try_from(at).unwrap();
            loads.push(code.data().unwrap()[at - 3..at + 7].to_vec());
        }
    }
    // mov LIMIT(%rip), %rdi and %r9, then a nop
    let nop = [0, 0, 0, 0, 0x0f, 0x1f, 0];
    let expected = [[0x48, 0x8b, 0x3d], [0x4c, 0x8b, 0x0d]];
    assert_eq!(loads, expected.map(|mov| [&mov[..], &nop].concat()));
    let names = module
        .sections()
        .map(|section| section.name().unwrap().to_owned());
    assert!(names.into_iter().all(|name| !name.contains("runtime_ptr")));
}

#[test]
fn an_instruction_of_another_form_is_an_error() {
    let error = runtime::plain(Input::Patched, &compile("1", "movabs $5, ")).unwrap_err();
    assert!(error.to_string().contains("another form"), "{error}");
}

#[test]
fn an_object_without_runtime_constants_stays_as_it_is() {
    let bytes = b"no object at all";
    let plain = runtime::plain(Input::Original, bytes).unwrap();
    assert_eq!(&*plain, bytes);
}
