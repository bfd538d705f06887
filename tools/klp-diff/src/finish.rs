// SPDX-License-Identifier: GPL-2.0
//! The last step after a module is linked: makes livepatch relocations of those to symbols that only
//! livepatch can find.
//!
//! Linkers keep neither two lists of relocations for one section nor symbols in `SHN_LIVEPATCH`.
//! Until here such a symbol is undefined, and its name says all:
//! `.klp.rela.<object>.klp.sym.<object>.<name>,<sympos>`.

use crate::emit;
use crate::error::{Error, Input};
use object::build::elf::{Builder, Relocation, SectionData, SectionId};
use object::build::Id;
use object::elf;
use std::collections::BTreeMap;

/// How the name of such a symbol begins.
pub const PREFIX: &str = ".klp.rela.";
/// The section is a list of livepatch relocations.
const SHF_RELA_LIVEPATCH: u64 = 0x0010_0000;
/// Livepatch finds the symbol.
const SHN_LIVEPATCH: u16 = 0xff20;

/// Returns the name of such a symbol.
pub fn name(section_object: &str, object: &str, symbol: &str, position: u64) -> String {
    format!("{PREFIX}{section_object}.klp.sym.{object}.{symbol},{position}")
}

/// Returns the object whose relocations a symbol is for, and the symbol's own name.
pub(crate) fn parse(name: &str) -> Option<(&str, &str)> {
    let (section_object, rest) = name.strip_prefix(PREFIX)?.split_once(".klp.sym.")?;
    let (_, symbol) = rest.split_once('.')?;
    Some((section_object, symbol.rsplit_once(',')?.0))
}

/// Converts a linked module.
pub fn finish(module: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed = |what: String| Error::Malformed {
        input: Input::Module,
        what,
    };
    let mut builder = Builder::read64(module).map_err(|error| malformed(error.to_string()))?;
    let mut objects: BTreeMap<usize, String> = BTreeMap::new();
    for symbol in &mut builder.symbols {
        let Some(rest) = symbol.name.strip_prefix(PREFIX.as_bytes()) else {
            continue;
        };
        let text = std::str::from_utf8(rest)
            .ok()
            .and_then(|rest| rest.split_once('.'));
        let Some((object, name)) =
            text.map(|(object, name)| (object.to_owned(), format!(".{name}")))
        else {
            return Err(malformed(
                "the name of a livepatch symbol has no object".into(),
            ));
        };
        symbol.name = name.into_bytes().into();
        symbol.st_shndx = elf::SymbolSection(SHN_LIVEPATCH);
        objects.insert(symbol.id().index(), object);
    }
    if objects.is_empty() {
        return Ok(module.to_vec());
    }
    let mut lists: Vec<(SectionId, String, Vec<Relocation>)> = Vec::new();
    for section in &mut builder.sections {
        let (Some(target), SectionData::Relocation(relocations)) =
            (section.sh_info_section, &mut section.data)
        else {
            continue;
        };
        let mut moved: BTreeMap<&str, Vec<Relocation>> = BTreeMap::new();
        relocations.retain(|relocation| {
            match relocation
                .symbol
                .and_then(|symbol| objects.get(&symbol.index()))
            {
                Some(object) => moved.entry(object).or_default().push(*relocation),
                None => return true,
            }
            false
        });
        section.delete = relocations.is_empty();
        lists.extend(
            moved
                .into_iter()
                .map(|(object, list)| (target, object.to_owned(), list)),
        );
    }
    let symtab =
        |section: &&object::build::elf::Section<'_>| matches!(section.data, SectionData::Symbol);
    let table = builder
        .sections
        .iter()
        .find(symtab)
        .map(|section| section.id());
    for (target, object, relocations) in lists {
        let of = builder.sections.get(target).name.to_vec();
        let section = builder.sections.add();
        section.name = [PREFIX.as_bytes(), object.as_bytes(), b".", of.as_slice()]
            .concat()
            .into();
        section.sh_type = elf::SHT_RELA;
        section.sh_flags =
            elf::SectionFlags(elf::SHF_ALLOC.0 | elf::SHF_INFO_LINK.0 | SHF_RELA_LIVEPATCH);
        section.sh_link_section = table;
        section.sh_info_section = Some(target);
        section.sh_addralign = 8;
        section.sh_entsize = 24;
        section.data = SectionData::Relocation(relocations);
    }
    emit::finished(builder, Input::Module)
}
