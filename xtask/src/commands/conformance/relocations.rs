// SPDX-License-Identifier: GPL-2.0
//! Turns ordinary relocations into livepatch relocations, as tools like kpatch-build do.
//!
//! A module's symbol `klp_symbol__<object>__<symbol>` becomes `.klp.sym.<object>.<symbol>,0`. The
//! relocations against it move to a relocation section of that object. Only the core applies this
//! section, once the object is loaded. Nothing here depends on the architecture, because
//! relocations are moved without being interpreted.

use crate::guest::klp;
use anyhow::{bail, Context as _, Result};
use object::build::elf::{Builder, Relocation, SectionData, SymbolId};
use std::collections::BTreeMap;

/// The prefix of a marked symbol's name in the source.
const MARK: &str = "klp_symbol__";

/// Converts the relocations of a built module.
pub fn convert(built: &[u8]) -> Result<Vec<u8>> {
    let mut module = klp::read(built)?;
    let objects = rename_symbols(&mut module)?;
    if objects.is_empty() {
        bail!("no symbol of the module begins with {MARK}");
    }
    let ids: Vec<_> = module.sections.iter().map(|section| section.id()).collect();
    for id in ids {
        let section = module.sections.get_mut(id);
        let SectionData::Relocation(all) = &mut section.data else {
            continue;
        };
        let moved = take(all, &objects);
        let name = section
            .name
            .strip_prefix(b".rela")
            .context("only sections with addends can be a live patch's")?
            .to_vec();
        for (object, relocations) in moved {
            let section = module.sections.copy(id);
            section.name = [format!(".klp.rela.{object}.").as_bytes(), &name]
                .concat()
                .into();
            klp::mark_section(section);
            section.data = SectionData::Relocation(relocations);
        }
    }
    klp::write(module)
}

/// Renames the marked symbols. Returns each of them with the object it belongs to.
fn rename_symbols(module: &mut Builder<'_>) -> Result<Vec<(SymbolId, String)>> {
    let mut objects = Vec::new();
    for symbol in &mut module.symbols {
        let name = symbol.name.to_string();
        let Some(name) = name.strip_prefix(MARK) else {
            continue;
        };
        let (object, name) = name
            .split_once("__")
            .with_context(|| format!("{MARK}{name} names no object"))?;
        symbol.name = format!(".klp.sym.{object}.{name},0").into_bytes().into();
        klp::mark_symbol(symbol);
        objects.push((symbol.id(), object.to_owned()));
    }
    Ok(objects)
}

/// Removes the relocations against marked symbols from `all`, and returns them by object.
fn take<'a>(
    all: &mut Vec<Relocation>,
    objects: &'a [(SymbolId, String)],
) -> BTreeMap<&'a str, Vec<Relocation>> {
    let mut taken: BTreeMap<&str, Vec<Relocation>> = BTreeMap::new();
    all.retain(|relocation| {
        let object = objects
            .iter()
            .find(|(symbol, _)| relocation.symbol == Some(*symbol));
        if let Some((_, object)) = object {
            taken.entry(object).or_default().push(*relocation);
        }
        object.is_none()
    });
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::klp::{SHF_RELA_LIVEPATCH, SHN_LIVEPATCH};
    use object::build::elf::SectionId;
    use object::elf::{
        self, FileHeader64, SectionType, SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB,
    };
    use object::read::elf::{FileHeader, Rela, SectionHeader, Sym};
    use object::Endianness;

    fn section(
        module: &mut Builder<'static>,
        name: &'static str,
        sh_type: SectionType,
        data: SectionData<'static>,
    ) -> SectionId {
        let section = module.sections.add();
        section.name = name.as_bytes().into();
        section.sh_type = sh_type;
        section.sh_addralign = 8;
        section.data = data;
        section.id()
    }

    /// Builds a module whose code refers to an unmarked symbol, to a marked one of vmlinux, to a
    /// marked one of a module, and to the one of vmlinux again.
    fn built(endian: Endianness) -> Vec<u8> {
        let mut module = Builder::new(endian, true);
        module.header.e_type = elf::ET_REL;
        let names = [
            "ordinary",
            "klp_symbol__vmlinux__a",
            "klp_symbol__some_module__b_c",
        ];
        let ids = names.map(|name| {
            let symbol = module.symbols.add();
            symbol.name = name.as_bytes().into();
            symbol.st_info = elf::STB_WEAK | elf::STT_NOTYPE;
            symbol.id()
        });
        let relocations = [0, 1, 2, 1].into_iter().zip(0..);
        let relocations = relocations.map(|(symbol, place)| Relocation {
            r_offset: 8 * place,
            symbol: Some(ids[symbol]),
            r_type: elf::RelocationType(1),
            r_addend: -4,
        });
        let text = vec![0; 32];
        let text = section(
            &mut module,
            ".text",
            SHT_PROGBITS,
            SectionData::Data(text.into()),
        );
        let symbols = section(&mut module, ".symtab", SHT_SYMTAB, SectionData::Symbol);
        section(&mut module, ".strtab", SHT_STRTAB, SectionData::String);
        section(
            &mut module,
            ".shstrtab",
            SHT_STRTAB,
            SectionData::SectionString,
        );
        let data = SectionData::Relocation(relocations.collect());
        let rela = section(&mut module, ".rela.text", SHT_RELA, data);
        let rela = module.sections.get_mut(rela);
        rela.sh_link_section = Some(symbols);
        rela.sh_info_section = Some(text);
        let mut data = Vec::new();
        module.write(&mut data).unwrap();
        data
    }

    fn text_of(name: &[u8]) -> String {
        String::from_utf8_lossy(name).into_owned()
    }

    #[test]
    fn what_refers_to_a_marked_symbol_moves_in_either_byte_order() {
        for endian in [Endianness::Little, Endianness::Big] {
            let data = convert(&built(endian)).unwrap();
            let header = FileHeader64::<Endianness>::parse(&*data).unwrap();
            assert_eq!(header.endian().unwrap(), endian);
            let sections = header.sections(endian, &*data).unwrap();
            let symbols = sections.symbols(endian, &*data, SHT_SYMTAB).unwrap();
            let mut found = Vec::new();
            for section in sections.iter() {
                let Some((relocations, link)) = section.rela(endian, &*data).unwrap() else {
                    continue;
                };
                assert_eq!(link, symbols.section());
                let code = sections.section(section.info_link(endian)).unwrap();
                assert_eq!(sections.section_name(endian, code).unwrap(), b".text");
                let marked = section.sh_flags(endian).contains(SHF_RELA_LIVEPATCH);
                assert_eq!(marked, section.sh_flags(endian).contains(elf::SHF_ALLOC));
                let names = relocations.iter().map(|relocation| {
                    assert_eq!(relocation.r_addend(endian), -4);
                    let symbol = relocation.symbol(endian, false).unwrap();
                    let symbol = symbols.symbol(symbol).unwrap();
                    assert_eq!(marked, symbol.st_shndx(endian) == SHN_LIVEPATCH);
                    let name = symbols.symbol_name(endian, symbol).unwrap();
                    (relocation.r_offset(endian), text_of(name))
                });
                let names: Vec<_> = names.collect();
                found.push((
                    text_of(sections.section_name(endian, section).unwrap()),
                    names,
                ));
            }
            let a = ".klp.sym.vmlinux.a,0".to_owned();
            let b = ".klp.sym.some_module.b_c,0".to_owned();
            assert_eq!(
                found,
                [
                    (".rela.text".into(), vec![(0, "ordinary".into())]),
                    (".klp.rela.some_module..text".into(), vec![(16, b)]),
                    (
                        ".klp.rela.vmlinux..text".into(),
                        vec![(8, a.clone()), (24, a)]
                    ),
                ]
            );
        }
    }

    #[test]
    fn a_module_without_marked_symbols_is_refused() {
        assert!(convert(b"no module").is_err());
    }
}
