// SPDX-License-Identifier: GPL-2.0
//! An object file as a graph: blocks of bytes that belong together, and references between them.

use crate::arch::Arch;
use crate::section::Role;
use object::elf::{RelocationType, SectionFlags, SectionType, SymbolBind, SymbolType};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

/// An object file.
#[derive(Debug)]
pub struct Object<'d> {
    /// Its architecture.
    pub arch: &'static dyn Arch,
    /// The flags in its ELF header.
    pub flags: u32,
    /// Its source file, as the symbol table names it.
    pub source: &'d str,
    /// Its sections, by their ELF index.
    pub sections: Vec<Section<'d>>,
    /// Its blocks, by section and address.
    pub blocks: Vec<Block<'d>>,
    /// The blocks of each section, in the order of their addresses.
    pub by_section: Vec<Vec<BlockId>>,
    /// The namespaces of exported symbols that it imports.
    pub namespaces: Vec<&'d str>,
}

/// A section.
#[derive(Debug)]
pub struct Section<'d> {
    /// Its name.
    pub name: &'d str,
    /// What it is for.
    pub role: Role,
    /// Its ELF type.
    pub kind: SectionType,
    /// Its ELF flags.
    pub flags: SectionFlags,
    /// Its alignment.
    pub align: u64,
    /// The size of its entries.
    pub entry_size: u64,
    /// Its size, also where it has no bytes in the file.
    pub size: u64,
    /// Its bytes; none for `.bss`.
    pub bytes: &'d [u8],
    /// Whether it is in a section group.
    pub grouped: bool,
}

impl Section<'_> {
    /// Whether it holds code.
    pub fn is_executable(&self) -> bool {
        self.flags.0 & object::elf::SHF_EXECINSTR.0 != 0
    }
}

/// Bytes that belong together: a function, a variable, a string, an entry of a table.
#[derive(Debug)]
pub struct Block<'d> {
    /// The index of its section.
    pub section: usize,
    /// Its offset in the section.
    pub start: u64,
    /// Its size.
    pub size: u64,
    /// The offset of the symbol that it is named after; for a function, of its entry.
    pub entry: u64,
    /// Its bytes; none in `.bss`.
    pub bytes: &'d [u8],
    /// What it is.
    pub kind: Kind,
    /// Whether it is known by its contents and copied, not by its name and referred to.
    pub private: bool,
    /// Its symbols. The first one names it.
    pub symbols: Vec<Symbol<'d>>,
    /// Its references, in the order of their offsets.
    pub references: Vec<Reference<'d>>,
    /// The offset of what the tracer patches, as the object lists it.
    pub site: Option<u64>,
    /// The offset of code that is not understood.
    pub unknown: Option<u64>,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A function.
    Function,
    /// Data.
    Data,
    /// An entry of a special section.
    Entry,
}

/// A symbol of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'d> {
    /// Its name.
    pub name: &'d str,
    /// Its offset in the block.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// Its ELF binding.
    pub bind: SymbolBind,
    /// Its ELF type.
    pub kind: SymbolType,
    /// Its ELF visibility, and what the architecture keeps beside it.
    pub other: u8,
}

impl Symbol<'_> {
    /// Whether other objects see it.
    pub fn is_global(&self) -> bool {
        self.bind != object::elf::STB_LOCAL
    }
}

/// A reference in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'d> {
    /// Its offset in the block.
    pub offset: u64,
    /// Its ELF relocation type.
    pub kind: RelocationType,
    /// What it refers to.
    pub target: Target<'d>,
    /// What the relocation's addend has beyond the target's offset.
    pub bias: i64,
    /// Whether it is the operand of a call or jump.
    pub branch: bool,
    /// Whether the assembler resolved it, so that no relocation says it.
    pub implicit: bool,
}

/// What a reference refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'d> {
    /// A place in a block.
    Block(BlockId, i64),
    /// A symbol of another object.
    External(&'d str),
    /// A place in a section that has no blocks.
    Section(usize, i64),
    /// Nothing, or a number.
    Nothing(i64),
}

/// The name of a block in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub(crate) usize);

impl<'d> Index<BlockId> for Object<'d> {
    type Output = Block<'d>;

    /// Only the object itself makes ids, for blocks that it keeps.
    fn index(&self, id: BlockId) -> &Block<'d> {
        &self.blocks[id.0]
    }
}

impl<'d> Object<'d> {
    /// Returns the ids of all blocks.
    pub fn ids(&self) -> impl Iterator<Item = BlockId> {
        (0..self.blocks.len()).map(BlockId)
    }

    /// Returns the section of a block.
    pub fn section(&self, id: BlockId) -> &Section<'d> {
        &self.sections[self[id].section]
    }

    /// Returns a block's name: that of its symbol, or else of its section.
    pub fn name(&self, id: BlockId) -> &'d str {
        match self[id].symbols.first() {
            Some(symbol) => symbol.name,
            None => self.section(id).name,
        }
    }

    /// Whether there is a section of this name.
    pub fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// Whether it defines a global symbol of this name.
    pub fn defines_global(&self, name: &str) -> bool {
        let mut symbols = self.blocks.iter().flat_map(|block| &block.symbols);
        symbols.any(|symbol| symbol.is_global() && symbol.name == name)
    }

    /// Whether other objects see one of the block's symbols.
    pub fn is_global(&self, id: BlockId) -> bool {
        self[id].symbols.iter().any(Symbol::is_global)
    }

    /// Returns the block at an offset in a section, with the offset in it. An offset that only ends
    /// a block belongs to that block.
    pub fn block_at(&self, section: usize, offset: i64) -> Option<(BlockId, i64)> {
        let blocks = self.by_section.get(section)?;
        let at = u64::try_from(offset).ok()?;
        let next = blocks.partition_point(|&id| self[id].start <= at);
        let mut before = blocks.get(..next)?.iter().rev().copied();
        let holds = |id: &BlockId| {
            let block = &self[*id];
            at < block.start.saturating_add(block.size) || at == block.start
        };
        let ends = |id: &BlockId| at == self[*id].start.saturating_add(self[*id].size);
        let id = match before.clone().find(holds) {
            Some(id) => id,
            None => before.find(ends)?,
        };
        Some((id, offset.wrapping_sub(self[id].start as i64)))
    }

    /// Returns what refers to each block. References for which `counts` says no, by who refers and
    /// what is referred to, are left out.
    pub fn referrers(
        &self,
        counts: impl Fn(BlockId, BlockId) -> bool,
    ) -> BTreeMap<BlockId, BTreeSet<BlockId>> {
        let mut referrers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for id in self.ids() {
            for reference in &self[id].references {
                let Target::Block(to, _) = reference.target else {
                    continue;
                };
                if counts(id, to) {
                    referrers.entry(to).or_default().insert(id);
                }
            }
        }
        referrers
    }

    /// Returns the functions and data that use a block, directly or through private data.
    pub fn users(
        &self,
        referrers: &BTreeMap<BlockId, BTreeSet<BlockId>>,
        block: BlockId,
    ) -> BTreeSet<BlockId> {
        let (mut seen, mut todo, mut found) = (BTreeSet::new(), vec![block], BTreeSet::new());
        while let Some(block) = todo.pop() {
            for &user in referrers.get(&block).into_iter().flatten() {
                if !seen.insert(user) {
                    continue;
                }
                match self[user].private {
                    true => todo.push(user),
                    false => drop(found.insert(user)),
                }
            }
        }
        found
    }

    /// Returns the function that an entry of a special section belongs to.
    pub fn owner(&self, entry: BlockId) -> Option<BlockId> {
        let mut functions = self[entry].references.iter().filter_map(|reference| {
            let Target::Block(id, _) = reference.target else {
                return None;
            };
            (self[id].kind == Kind::Function).then_some(id)
        });
        functions.next()
    }
}
