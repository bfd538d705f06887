// SPDX-License-Identifier: GPL-2.0
//! From the object that the patch engine writes to the module. Kbuild links it, as it does any module
//! outside of the tree.

use crate::base::Base;
use anyhow::{bail, Context as _, Result};
use klp_diff::arch;
use klp_diff::author::{INIT, READS_WISHES};
use klp_diff::finish::{self, PREFIX};
use klp_diff::outside::Exports;
use object::{Object, ObjectSymbol};
use std::fs;
use std::path::Path;
use steps::place;
use steps::step::Step;
use steps::workplace::Workplace;

/// Links the module `name` of an object in `dir`. Returns the content of its file.
pub fn link(
    work: &Workplace,
    base: &Base,
    dir: &Path,
    name: &str,
    object: &[u8],
    exports: &Exports<'_>,
) -> Result<Vec<u8>> {
    check(object, exports)?;
    // In a directory of their own, so that a module may have any name.
    let list = format!("obj-m := {name}.o\n{name}-y := parts/init.o parts/patch.o\n");
    // modpost reads the record of each object.
    let record = "savedcmd_parts/patch.o := true\n";
    let files = [
        ("Kbuild", list.as_bytes()),
        ("parts/init.c", INIT.as_bytes()),
        ("parts/patch.o", object),
        ("parts/.patch.o.cmd", record.as_bytes()),
    ];
    for (file, bytes) in files {
        place::put(&dir.join(file), bytes)?;
    }
    let linked = dir.join(format!("{name}.ko"));
    place::remove(&linked)?;
    let mut make = base.make();
    make.arg(format!("M={}", dir.display())).arg("modules");
    // Livepatch finds the symbols that modpost does not know. The others were checked above.
    make.arg("KBUILD_MODPOST_WARN=1");
    if base
        .read_text(".config")?
        .contains("\nCONFIG_CC_IS_CLANG=y\n")
    {
        // It lists symbols by their numbers, which change in the end.
        make.arg("KCFLAGS=-fno-addrsig");
    }
    if let Some(objtool) = &base.objtool {
        // objtool has been over the engine's objects already, so it must not go over the linked one.
        let arguments = objtool
            .split_once(' ')
            .map_or("", |(_, arguments)| arguments);
        make.arg("delay-objtool=")
            .arg(format!("objtool-args={arguments} --module"));
    }
    Step::new(work, &format!("Link {name}.ko"), make)
        .hint("see that the build directory is complete; if the disk is full, free some space")
        .run()?;
    let linked = fs::read(&linked).with_context(|| format!("there is no {}", linked.display()))?;
    Ok(finish::finish(&linked)?)
}

/// Checks that the kernel or a module exports what an object refers to, except for what livepatch
/// finds.
fn check(object: &[u8], exports: &Exports<'_>) -> Result<()> {
    let unknown = unknown(object, exports)?;
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "the module would refer to what is not exported: {}\n\
         next: report this, with the patch and the objects: the engine should have refused it",
        unknown.join(", ")
    )
}

fn unknown(object: &[u8], exports: &Exports<'_>) -> Result<Vec<String>> {
    let file = object::File::parse(object).context("the engine wrote no object")?;
    let arch = arch::of(object).context("the engine wrote an object of no architecture")?;
    let mut unknown = Vec::new();
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.is_undefined() && !symbol.is_weak())
    {
        let name = symbol.name()?;
        let is_known = name.is_empty()
            || name == READS_WISHES
            || name.starts_with(PREFIX)
            || arch.is_of_loader(name);
        if !is_known && exports.exporter(name).is_none() {
            unknown.push(name.to_owned());
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

    /// Returns which of some symbols are unknown in an object of this architecture.
    fn unknown_of(architecture: Architecture) -> Vec<String> {
        let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
        let livepatch = finish::name("vmlinux", "vmlinux", "hidden", 1);
        for name in ["exported", "missing", READS_WISHES, &livepatch, ".TOC."] {
            object.add_symbol(Symbol {
                name: name.into(),
                value: 0,
                size: 0,
                kind: SymbolKind::Unknown,
                scope: SymbolScope::Unknown,
                weak: false,
                section: SymbolSection::Undefined,
                flags: SymbolFlags::None,
            });
        }
        let exports = Exports::parse("0x0\texported\tvmlinux\tEXPORT_SYMBOL\t\n");
        unknown(&object.write().unwrap(), &exports).unwrap()
    }

    #[test]
    fn what_is_neither_exported_nor_for_livepatch_nor_the_loaders_is_unknown() {
        assert_eq!(unknown_of(Architecture::X86_64), ["missing", ".TOC."]);
        assert_eq!(unknown_of(Architecture::PowerPc64), ["missing"]);
    }
}
