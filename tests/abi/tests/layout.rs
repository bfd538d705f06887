// SPDX-License-Identifier: GPL-2.0

//! The core's view of the ABI against the headers of a configured kernel tree.
//!
//! `cargo xtask test` runs this. `LIVEPATCH_KERNEL_OUT` names the object directory, and
//! `LIVEPATCH_KERNEL_ARCH` the backend.

use abi_tests::{Registers, DESCRIPTORS, REGISTERS};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const HEADER: &str = "
#include <linux/livepatch.h>
#include <linux/ftrace.h>
#include <linux/ftrace_regs.h>
#include <linux/sched.h>
";

fn environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this through `cargo xtask test`"))
}

/// Returns the clang arguments that the kernel's own bindings are generated with.
fn clang_arguments(out: &Path) -> Vec<String> {
    let record = out.join("rust/bindings/.bindings_generated.rs.cmd");
    let text = std::fs::read_to_string(&record)
        .unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    let command = text.lines().next().unwrap();
    let (_, arguments) = command.split_once(" -- ").expect("no arguments for clang");
    let arguments = arguments.split(';').next().unwrap();
    let arguments = shlex::split(arguments).expect("a quote is not closed");
    let mut result = vec![format!("-working-directory={}", out.display())];
    // `-Wp,-M...` names a file for dependencies. There are none here.
    let arguments = arguments.into_iter();
    result.extend(arguments.filter(|argument| !argument.starts_with("-Wp,-M")));
    result
}

/// Configures bindgen for a header of the kernel.
fn bindings(out: &Path, header: &str) -> bindgen::Builder {
    bindgen::Builder::default()
        .header_contents("abi.h", header)
        .clang_args(clang_arguments(out))
}

/// Returns the offset of each field, by structure and field.
fn offsets(out: &Path) -> HashMap<(String, String), usize> {
    let bindings = bindings(out, HEADER)
        .allowlist_type("klp_.*")
        .opaque_type("kobject|list_head|module|work_struct|completion")
        .layout_tests(true)
        .generate()
        .expect("cannot read the kernel's headers")
        .to_string();
    let mut result = HashMap::new();
    for line in bindings.split(';') {
        // ["Offset of field: S::f"][::std::mem::offset_of!(S, f) - 8usize]
        let Some((_, rest)) = line.split_once("Offset of field: ") else {
            continue;
        };
        let Some((field, rest)) = rest.split_once('"') else {
            continue;
        };
        let Some((_, offset)) = rest.rsplit_once("- ") else {
            continue;
        };
        let (structure, field) = field.split_once("::").unwrap();
        let offset = offset.split("usize").next().unwrap().trim();
        result.insert(
            (structure.to_owned(), field.to_owned()),
            offset.parse().unwrap(),
        );
    }
    result
}

fn offset(offsets: &HashMap<(String, String), usize>, structure: &str, field: &str) -> usize {
    *offsets
        .get(&(structure.to_owned(), field.to_owned()))
        .unwrap_or_else(|| panic!("the tree has no {structure}.{field}"))
}

#[test]
fn descriptors_are_where_modules_have_them() {
    let offsets = offsets(&PathBuf::from(environment("LIVEPATCH_KERNEL_OUT")));
    for &(structure, field, expected) in DESCRIPTORS {
        assert_eq!(
            offset(&offsets, structure, field),
            expected,
            "{structure}.{field}"
        );
    }
}

/// Returns the registers of the architecture that is built for.
fn registers() -> &'static Registers {
    let arch = environment("LIVEPATCH_KERNEL_ARCH");
    let mut all = REGISTERS.iter();
    all.find(|registers| registers.arch == arch)
        .unwrap_or_else(|| panic!("no backend for {arch}"))
}

/// Returns the offset of a field in C.
fn offset_in_c(structure: &str, field: &str) -> usize {
    let header =
        format!("{HEADER} enum {{ OFFSET = __builtin_offsetof(struct {structure}, {field}) }};");
    let bindings = bindings(&PathBuf::from(environment("LIVEPATCH_KERNEL_OUT")), &header)
        .allowlist_var("OFFSET")
        .generate()
        .expect("cannot read the kernel's headers")
        .to_string();
    // pub const OFFSET: _bindgen_ty_1 = 104;
    let (_, value) = bindings.split_once(" = ").expect(&bindings);
    let value = value.split([';', ' ']).next().unwrap();
    value.parse().expect(&bindings)
}

#[test]
fn the_instruction_pointer_is_where_the_backend_has_it() {
    let registers = registers();
    let found = offset_in_c("__arch_ftrace_regs", registers.field);
    assert_eq!(found, registers.offset);
}

#[test]
fn the_stack_pointer_is_where_the_backend_has_it() {
    if let Some(offset) = registers().stack_pointer {
        assert_eq!(offset_in_c("thread_struct", "sp"), offset);
    }
}
