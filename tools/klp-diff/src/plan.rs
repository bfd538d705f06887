// SPDX-License-Identifier: GPL-2.0
//! A plan of the module: sections, symbols and relocations, before they are ELF.

use object::elf::{self, RelocationType, SectionFlags, SectionType, SymbolBind, SymbolType};
use std::collections::BTreeMap;

/// What becomes an ELF object.
#[derive(Debug, Default)]
pub struct Plan {
    /// The sections, in their order.
    pub sections: Vec<PlanSection>,
    /// The symbols, in the order in which they were asked for.
    pub symbols: Vec<PlanSymbol>,
    /// The source files: from which symbol on, and the name.
    pub files: Vec<(usize, String)>,
    by_name: BTreeMap<(String, u32, u64, Option<usize>), usize>,
    undefined: BTreeMap<String, usize>,
    of_section: BTreeMap<usize, usize>,
}

/// A section.
#[derive(Debug)]
pub struct PlanSection {
    pub name: String,
    pub kind: SectionType,
    pub flags: SectionFlags,
    pub align: u64,
    pub entry_size: u64,
    pub size: u64,
    /// Its bytes; none in `.bss`.
    pub bytes: Vec<u8>,
    pub relocations: Vec<PlanRelocation>,
    /// The index of the section that the linker orders it by, if it is of that kind.
    pub ordered_by: Option<usize>,
}

/// A symbol.
#[derive(Debug)]
pub struct PlanSymbol {
    pub name: String,
    /// The index of its section, or nothing if it is undefined.
    pub section: Option<usize>,
    pub value: u64,
    pub size: u64,
    pub bind: SymbolBind,
    pub kind: SymbolType,
    pub other: u8,
}

/// A relocation.
#[derive(Debug)]
pub struct PlanRelocation {
    pub offset: u64,
    pub kind: RelocationType,
    /// The index of its symbol; nothing for a number.
    pub symbol: Option<usize>,
    pub addend: i64,
}

/// What a new section is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: SectionType,
    pub flags: SectionFlags,
    pub align: u64,
    pub entry_size: u64,
}

impl Shape {
    /// The shape of a section with data.
    pub fn data(flags: SectionFlags, align: u64) -> Self {
        Self {
            kind: elf::SHT_PROGBITS,
            flags: SectionFlags(flags.0 | elf::SHF_ALLOC.0),
            align,
            entry_size: 0,
        }
    }
}

impl Plan {
    /// Says that the symbols from here on are of another source file.
    pub fn file(&mut self, name: &str) {
        self.files.push((self.symbols.len(), name.to_owned()));
    }

    /// Returns the section of this name and kind, a new one if there is none.
    pub fn section(&mut self, name: &str, shape: Shape) -> usize {
        self.find_section(name, shape, None)
    }

    /// Returns the section of this name and kind that is ordered by another one. Linkers do not take
    /// two of one name, of which one is ordered and the other one is not.
    pub fn ordered_section(&mut self, name: &str, shape: Shape, by: usize) -> usize {
        let flags = SectionFlags(shape.flags.0 | elf::SHF_LINK_ORDER.0);
        self.find_section(name, Shape { flags, ..shape }, Some(by))
    }

    fn find_section(&mut self, name: &str, shape: Shape, ordered_by: Option<usize>) -> usize {
        let key = (name.to_owned(), shape.kind.0, shape.flags.0, ordered_by);
        if let Some(&index) = self.by_name.get(&key) {
            if let Some(section) = self.sections.get_mut(index) {
                section.align = section.align.max(shape.align);
            }
            return index;
        }
        let index = self.sections.len();
        self.by_name.insert(key, index);
        self.sections.push(PlanSection {
            name: name.to_owned(),
            kind: shape.kind,
            flags: shape.flags,
            align: shape.align.max(1),
            entry_size: shape.entry_size,
            size: 0,
            bytes: Vec::new(),
            relocations: Vec::new(),
            ordered_by,
        });
        index
    }

    /// Appends bytes to a section, `size` in all, so that they start at an address that leaves
    /// `remainder` when divided by `align`. Returns their offset.
    pub fn append(
        &mut self,
        section: usize,
        bytes: &[u8],
        size: u64,
        align: u64,
        remainder: u64,
    ) -> u64 {
        let Some(section) = self.sections.get_mut(section) else {
            return 0;
        };
        let align = align.max(1);
        let remainder = remainder % align;
        let aligned = section
            .size
            .saturating_sub(remainder)
            .checked_next_multiple_of(align);
        let offset = aligned.unwrap_or(section.size).saturating_add(remainder);
        section.size = offset.saturating_add(size);
        if section.kind != elf::SHT_NOBITS {
            section.bytes.resize(offset as usize, 0);
            section.bytes.extend(bytes);
            section.bytes.resize(section.size as usize, 0);
        }
        offset
    }

    /// Adds a symbol.
    pub fn symbol(&mut self, symbol: PlanSymbol) -> usize {
        self.symbols.push(symbol);
        self.symbols.len() - 1
    }

    /// Returns the symbol of a section.
    pub fn section_symbol(&mut self, section: usize) -> usize {
        if let Some(&index) = self.of_section.get(&section) {
            return index;
        }
        let index = self.symbol(PlanSymbol {
            name: String::new(),
            section: Some(section),
            value: 0,
            size: 0,
            bind: elf::STB_LOCAL,
            kind: elf::STT_SECTION,
            other: 0,
        });
        self.of_section.insert(section, index);
        index
    }

    /// Returns a symbol for a place in a section.
    pub fn label(&mut self, section: usize, value: u64) -> usize {
        let found = self.symbols.iter().position(|symbol| {
            let label = symbol.kind == elf::STT_NOTYPE && symbol.section == Some(section);
            label && symbol.value == value
        });
        found.unwrap_or_else(|| {
            self.symbol(PlanSymbol {
                name: format!(".Lklp.{section}.{value}"),
                section: Some(section),
                value,
                size: 0,
                bind: elf::STB_LOCAL,
                kind: elf::STT_NOTYPE,
                other: 0,
            })
        })
    }

    /// Returns the undefined symbol of this name.
    pub fn undefined(&mut self, name: String) -> usize {
        if let Some(&index) = self.undefined.get(&name) {
            return index;
        }
        let index = self.symbol(PlanSymbol {
            name: name.clone(),
            section: None,
            value: 0,
            size: 0,
            bind: elf::STB_GLOBAL,
            kind: elf::STT_NOTYPE,
            other: 0,
        });
        self.undefined.insert(name, index);
        index
    }

    /// Adds a relocation.
    pub fn relocate(&mut self, section: usize, relocation: PlanRelocation) {
        if let Some(section) = self.sections.get_mut(section) {
            section.relocations.push(relocation);
        }
    }
}
