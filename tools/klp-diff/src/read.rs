// SPDX-License-Identifier: GPL-2.0
//! Reads an ELF object into sections, symbols and relocations.

use crate::arch::{self, Arch};
use crate::error::{Error, Input};
use crate::graph::Section;
use crate::section::{self, Role};
use object::elf;
use object::read::elf::{FileHeader, Rela, SectionHeader, Sym};
use object::read::{SectionIndex, SymbolIndex};
use object::Endianness;

/// What an ELF object holds.
pub struct Raw<'d> {
    /// Its architecture.
    pub arch: &'static dyn Arch,
    /// The flags in its header.
    pub flags: u32,
    /// Its sections, by index.
    pub sections: Vec<Section<'d>>,
    /// Its symbols, by index.
    pub symbols: Vec<RawSymbol<'d>>,
    /// The relocations of each section.
    pub relocations: Vec<Vec<RawRelocation>>,
}

/// A symbol.
pub struct RawSymbol<'d> {
    pub name: &'d str,
    pub place: Place,
    pub value: u64,
    pub size: u64,
    pub bind: elf::SymbolBind,
    pub kind: elf::SymbolType,
    pub other: u8,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In another object.
    Undefined,
    /// Nowhere: its value is a number.
    Absolute,
    /// In a section.
    Section(usize),
}

/// A relocation.
#[derive(Clone, Copy, Debug)]
pub struct RawRelocation {
    pub offset: u64,
    pub kind: elf::RelocationType,
    pub symbol: usize,
    pub addend: i64,
}

/// More than any section of an object has.
const MAX_SIZE: u64 = 1 << 40;
const MAX_ALIGN: u64 = 1 << 21;

type Header = elf::FileHeader64<Endianness>;

/// Reads an object.
pub fn read(input: Input, bytes: &[u8]) -> Result<Raw<'_>, Error> {
    let malformed = |what: String| Error::Malformed { input, what };
    let elf_error = |error: object::read::Error| malformed(error.to_string());
    let header = Header::parse(bytes).map_err(elf_error)?;
    let endian = header.endian().map_err(elf_error)?;
    let (machine, flags) = (header.e_machine(endian), header.e_flags(endian).0);
    let arch = arch::find(machine, header.is_big_endian())
        .filter(|arch| arch.knows_flags(flags))
        .ok_or(Error::Architecture {
            machine: machine.0,
            flags,
        })?;
    if header.e_type(endian) != elf::ET_REL {
        return Err(malformed("it is no relocatable object".into()));
    }
    let table = header.sections(endian, bytes).map_err(elf_error)?;
    let symbols = table
        .symbols(endian, bytes, elf::SHT_SYMTAB)
        .map_err(elf_error)?;
    if symbols.is_empty() {
        return Err(malformed("it has no symbols".into()));
    }
    let utf8 =
        |bytes| std::str::from_utf8(bytes).map_err(|_| malformed("a name is not text".into()));

    let mut sections = Vec::new();
    for header in table.iter() {
        let name = utf8(table.section_name(endian, header).map_err(elf_error)?)?;
        let (kind, flags) = (header.sh_type(endian), header.sh_flags(endian));
        let data = header.data(endian, bytes).map_err(elf_error)?;
        let align = header.sh_addralign(endian).max(1);
        if header.sh_size(endian) > MAX_SIZE || align > MAX_ALIGN || !align.is_power_of_two() {
            return Err(malformed(format!(
                "the size or the alignment of {name} is wrong"
            )));
        }
        sections.push(Section {
            name,
            role: section::role(arch, name, kind, flags),
            kind,
            flags,
            align,
            entry_size: header.sh_entsize(endian),
            size: header.sh_size(endian),
            bytes: data,
            grouped: flags.0 & elf::SHF_GROUP.0 != 0,
        });
    }

    let mut all = Vec::new();
    for (index, symbol) in symbols.enumerate() {
        let name = utf8(symbols.symbol_name(endian, symbol).map_err(elf_error)?)?;
        let place = match symbol.st_shndx(endian) {
            elf::SHN_UNDEF => Place::Undefined,
            elf::SHN_ABS => Place::Absolute,
            elf::SHN_COMMON => return Err(malformed(format!("`{name}` is a common symbol"))),
            _ => match symbols
                .symbol_section(endian, symbol, index)
                .map_err(elf_error)?
            {
                Some(SectionIndex(at)) if at < sections.len() => Place::Section(at),
                _ => return Err(malformed(format!("`{name}` is in no section"))),
            },
        };
        all.push(RawSymbol {
            name,
            place,
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
            bind: symbol.st_bind(),
            kind: symbol.st_type(),
            other: symbol.st_other().0,
        });
    }

    let mut relocations: Vec<Vec<RawRelocation>> = Vec::new();
    relocations.resize_with(sections.len(), Vec::new);
    for header in table.iter() {
        if header.sh_type(endian) == elf::SHT_REL {
            return Err(malformed("it has relocations without addends".into()));
        }
        let Some((relas, _)) = header.rela(endian, bytes).map_err(elf_error)? else {
            continue;
        };
        let of = header.sh_info(endian) as usize;
        let (Some(section), Some(list)) = (sections.get(of), relocations.get_mut(of)) else {
            return Err(malformed("relocations are for no section".into()));
        };
        if section.role == Role::Ignored {
            continue;
        }
        for rela in relas {
            let symbol = rela.symbol(endian, false).map_or(0, |SymbolIndex(at)| at);
            let (offset, kind) = (rela.r_offset(endian), rela.r_type(endian, false));
            if offset
                .checked_add(arch.width(kind))
                .is_none_or(|end| end > section.size)
                || symbol >= all.len()
            {
                return Err(malformed(format!(
                    "a relocation of {} points nowhere",
                    section.name
                )));
            }
            list.push(RawRelocation {
                offset,
                kind,
                symbol,
                addend: rela.r_addend(endian),
            });
        }
        list.sort_by_key(|relocation| relocation.offset);
    }
    Ok(Raw {
        arch,
        flags,
        sections,
        symbols: all,
        relocations,
    })
}
