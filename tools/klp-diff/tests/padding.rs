// SPDX-License-Identifier: GPL-2.0
//! What stands before a function: padding that the kernel writes call thunks into.

mod tools;

use klp_diff::{Diff, Environment};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use tools::COMPILERS;

/// A function as gcc and objtool leave it for a kernel with call depth tracking.
const SOURCE: &str = r#"
asm(".section .text.f,\"ax\"\n.balign 16\n"
    ".type __pfx_f,@function\n__pfx_f:\n.fill 16, 1, 0x90\n.size __pfx_f, 16\n"
    ".globl f\n.type f,@function\nf:\nendbr64\n1: call __fentry__\n"
    "movl $" STEP ", %eax\nret\n.size f, . - f\n"
    ".section __mcount_loc,\"a\"\n.quad 1b\n"
    ".section __patchable_function_entries,\"awo\",@progbits,.text.f\n.quad __pfx_f\n"
    ".section .orc_unwind,\"a\"\n.fill 6, 1, 1\n.fill 6, 1, 2\n"
    ".section .orc_unwind_ip,\"a\"\n.long .text.f - .\n.long .text.f + 16 - .\n");
"#;

fn compile(step: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("b.c");
    std::fs::write(&source, format!("#define STEP \"{step}\"\n{SOURCE}")).unwrap();
    COMPILERS[0].require();
    COMPILERS[0].compile(&source, &[])
}

#[test]
fn a_function_keeps_the_padding_before_it() {
    let (original, patched) = (compile("1"), compile("2"));
    let environment = Environment::default();
    let diff = Diff::new(&original, &patched, &environment).unwrap();
    assert_eq!(diff.functions(), ["f", "__pfx_f"]);
    let module = diff.write(&environment).unwrap();
    let module = object::File::parse(&*module).unwrap();
    let function = module.symbol_by_name("f").unwrap();
    let section = module
        .section_by_index(function.section_index().unwrap())
        .unwrap();
    let at = usize::try_from(function.address()).unwrap();
    let code = section.data().unwrap();
    assert_eq!(code[at - 16..at], [0x90; 16]);
    assert_eq!(code[at..at + 4], [0xf3, 0x0f, 0x1e, 0xfa]);
    assert_eq!(
        module.symbol_by_name("__pfx_f").unwrap().address() + 16,
        function.address()
    );
    // Both lists lead to the function and to its call, and not to the padding.
    for (name, expected) in [
        (".init.klp_funcs", function.address()),
        ("__mcount_loc", function.address() + 4),
    ] {
        let list = module.section_by_name(name).unwrap();
        let places = list.relocations().filter_map(|(_, relocation)| {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                return None;
            };
            let symbol = module.symbol_by_index(symbol).unwrap();
            let is_here = symbol.section_index() == Some(section.index());
            is_here.then(|| symbol.address().wrapping_add_signed(relocation.addend()))
        });
        assert_eq!(places.collect::<Vec<_>>(), [expected], "{name}");
    }
}
