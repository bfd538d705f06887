// SPDX-License-Identifier: GPL-2.0
//! Writes the object of the module: what was selected, the tables that livepatch reads, and
//! references to what stays in the kernel.

use crate::emit;
use crate::error::{Error, Reason, Refusal};
use crate::finish;
use crate::graph::{BlockId, Kind, Reference, Symbol, Target};
use crate::outside::Wanted;
use crate::plan::{Plan, PlanRelocation, PlanSymbol, Shape};
use crate::section::Role;
use crate::select;
use crate::special::{self, Entries, Special};
use crate::tables;
use crate::{loaded, moved, Diff, Environment, Part};
use object::elf;
use std::collections::{BTreeMap, BTreeSet};

/// How the names of sections of per-CPU data begin. In modules there is only the one of this name.
const PER_CPU: &str = ".data..percpu";

/// Where a block is in the module.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub section: usize,
    pub offset: u64,
    /// The symbol that names it.
    symbol: Option<usize>,
}

impl Placed {
    /// A place in a section.
    pub fn at(section: usize, offset: u64) -> Self {
        Self {
            section,
            offset,
            symbol: None,
        }
    }
}

/// One pair of objects that goes into the module.
pub struct Pair<'a, 'd> {
    pub diff: &'a Diff<'d>,
    pub environment: &'a Environment<'a>,
    placed: BTreeMap<BlockId, Placed>,
    /// The new global symbols of other pairs that its blocks refer to.
    pub uses: BTreeMap<BlockId, BTreeSet<Owner<'a>>>,
    /// The blocks with relocations that wait for the kernel object that the pair is part of.
    pub waiting: BTreeSet<BlockId>,
    /// The local functions of the original, which tell its file from others of the same name.
    neighbours: BTreeSet<&'a str>,
}

/// The kernel object that a new global symbol belongs to, and the symbol's name.
pub type Owner<'a> = (Option<&'a str>, &'a str);

/// What all pairs share.
#[derive(Debug, Default)]
pub struct Module<'a> {
    pub plan: Plan,
    /// The new global symbols.
    globals: BTreeMap<Owner<'a>, usize>,
    pub refusals: BTreeSet<Refusal>,
}

/// Writes one pair into the module.
pub struct Write<'w, 'a, 'd> {
    pub pair: &'w mut Pair<'a, 'd>,
    pub module: &'w mut Module<'a>,
}

/// Writes the object of a module from all its pairs.
pub fn write(parts: &[Part<'_, '_>]) -> Result<Vec<u8>, Error> {
    let mut module = Module::default();
    let mut pairs: Vec<_> = parts.iter().map(|part| Pair::new(*part)).collect();
    let Some(first) = parts.first() else {
        return Err(Error::NothingChanged);
    };
    let (arch, flags) = (first.diff.patched.arch, first.diff.patched.flags);
    for part in parts {
        if part.diff.patched.arch.name() != arch.name() {
            return Err(Error::Mismatch("architecture"));
        }
        if part.diff.patched.flags != flags {
            return Err(Error::Mismatch("the flags of the ABI"));
        }
    }
    // A pair may refer to what another one brings, so that all blocks are placed first.
    for pair in &mut pairs {
        let mut write = Write {
            pair,
            module: &mut module,
        };
        write.place_all();
    }
    for pair in &mut pairs {
        let mut write = Write {
            pair,
            module: &mut module,
        };
        write.refer_all();
    }
    moved::check(parts, &mut module);
    loaded::check(&mut pairs, &mut module);
    tables::write(&mut pairs, &mut module);
    match module.refusals.is_empty() {
        true => emit::emit(&module.plan, arch, flags),
        false => Err(Error::Refused(module.refusals.into_iter().collect())),
    }
}

impl<'a, 'd> Pair<'a, 'd> {
    fn new(Part { diff, environment }: Part<'a, 'd>) -> Self {
        let original = &diff.original;
        let local = |id: &BlockId| original[*id].kind == Kind::Function && !original.is_global(*id);
        Self {
            diff,
            environment,
            placed: BTreeMap::new(),
            uses: BTreeMap::new(),
            waiting: BTreeSet::new(),
            neighbours: original
                .ids()
                .filter(local)
                .map(|id| original.name(id))
                .collect(),
        }
    }

    /// Returns the position in the image of a block of the original.
    pub fn position(&self, id: BlockId) -> Result<u64, Reason> {
        let original = &self.diff.original;
        let Some(image) = self.environment.image else {
            return Ok(0);
        };
        image.position(&Wanted {
            name: original.name(id),
            file: original.source,
            size: original[id].symbols.first().map_or(0, |symbol| symbol.size),
            local: !original.is_global(id),
            neighbours: &self.neighbours,
        })
    }

    /// Returns where a block is in the module.
    pub fn placed(&self, id: BlockId) -> Option<Placed> {
        self.placed.get(&id).copied()
    }
}

impl<'a> Write<'_, 'a, '_> {
    /// Puts all blocks into sections.
    fn place_all(&mut self) {
        let diff = self.pair.diff;
        self.module.plan.file(diff.patched.source);
        let included = &diff.selection.included;
        included.iter().for_each(|&id| self.place(id));
    }

    /// Writes all relocations, and lists the patch sites.
    fn refer_all(&mut self) {
        let included: Vec<_> = self.pair.diff.selection.included.iter().copied().collect();
        included.iter().for_each(|&id| self.refer(id));
        self.sites(&included);
    }

    /// Puts a block into a section.
    fn place(&mut self, id: BlockId) {
        let patched = &self.pair.diff.patched;
        let (block, section) = (&patched[id], patched.section(id));
        let alone = matches!(patched.by_section.get(block.section), Some(all) if all.len() == 1);
        // The module loader knows the section of per-CPU data by its name.
        let per_cpu = section.name.starts_with(PER_CPU);
        let name = match (block.private || alone, block.symbols.first()) {
            _ if per_cpu => PER_CPU.to_owned(),
            (false, Some(symbol)) => format!("{}.{}", section.name, symbol.name),
            _ => section.name.to_owned(),
        };
        let entry = match section.role {
            Role::Special(Special {
                entries: Entries::Sized(..) | Entries::Beside(..),
                ..
            }) => self.size_of_entries(id),
            _ => None,
        };
        let index = self.module.plan.section(
            &name,
            Shape {
                kind: section.kind,
                // Merging would undo the offsets, and the order of other sections has no meaning here.
                flags: elf::SectionFlags(
                    section.flags.0 & (elf::SHF_WRITE.0 | elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0),
                ),
                align: section.align,
                entry_size: 0,
            },
        );
        let (size, align, remainder) = match entry {
            Some(size) => (size, 1, 0),
            None => (
                block.size,
                section.align,
                block.start % section.align.max(1),
            ),
        };
        let offset = self
            .module
            .plan
            .append(index, block.bytes, size, align, remainder);
        let mut symbol = None;
        let changed = self.pair.diff.pairs.original(id).is_some();
        for named in &block.symbols {
            let bind = self.bind(named, changed);
            let added = self.module.plan.symbol(PlanSymbol {
                name: named.name.to_owned(),
                section: Some(index),
                value: offset.saturating_add(named.offset),
                size: named.size,
                bind,
                kind: named.kind,
                other: named.other,
            });
            if named.is_global() && !changed {
                self.define(id, named.name, added);
            }
            symbol.get_or_insert(added);
        }
        self.pair.placed.insert(
            id,
            Placed {
                section: index,
                offset,
                symbol,
            },
        );
    }

    /// Returns the binding that a symbol has in the module: local where the kernel, or what is from
    /// another kernel object, has the name already.
    fn bind(&self, symbol: &Symbol<'_>, changed: bool) -> elf::SymbolBind {
        let mut names = self.module.globals.keys().map(|(_, name)| *name);
        match changed || symbol.is_global() && names.any(|name| name == symbol.name) {
            true => elf::STB_LOCAL,
            false => symbol.bind,
        }
    }

    /// Notes a new global symbol, which the other pairs may refer to.
    fn define(&mut self, id: BlockId, name: &'a str, symbol: usize) {
        let key = (self.pair.environment.module, name);
        if self.module.globals.insert(key, symbol).is_some() {
            self.refuse(id, name, Reason::DefinedTwice);
        }
    }

    /// Returns the size of the entries of a block's section: the last one may lack padding.
    fn size_of_entries(&self, id: BlockId) -> Option<u64> {
        let patched = &self.pair.diff.patched;
        let first = patched.by_section.get(patched[id].section)?.first()?;
        Some(patched[*first].size)
    }

    /// Writes the relocations of a block.
    fn refer(&mut self, id: BlockId) {
        let diff = self.pair.diff;
        let Some(&placed) = self.pair.placed.get(&id) else {
            return;
        };
        for reference in &diff.patched[id].references {
            let Some((symbol, addend)) = self.target(id, reference) else {
                continue;
            };
            self.note_late(id, reference, symbol);
            let offset = placed.offset.saturating_add(reference.offset);
            if reference.implicit {
                self.clear(placed.section, offset, reference);
            }
            self.module.plan.relocate(
                placed.section,
                PlanRelocation {
                    offset,
                    kind: reference.kind,
                    symbol,
                    addend,
                },
            );
        }
    }

    /// Notes a relocation that waits for a module, and refuses it where the kernel rewrites the code or reads the
    /// table as soon as the live patch is loaded.
    fn note_late(&mut self, id: BlockId, reference: &Reference<'_>, symbol: Option<usize>) {
        let symbols = &self.module.plan.symbols;
        let name = symbol.and_then(|symbol| Some(symbols.get(symbol)?.name.as_str()));
        let Some((object, name)) = name.and_then(finish::parse) else {
            return;
        };
        let diff = self.pair.diff;
        let rewritten = diff.patched[id].kind == Kind::Entry
            || special::is_rewritten(
                &diff.patched,
                &diff.selection.included,
                id,
                reference.offset,
            );
        if object == "vmlinux" {
            return;
        }
        if rewritten {
            let reason = Reason::TooLate(name.to_owned());
            self.refuse(id, diff.patched.name(id), reason);
        }
        self.pair.waiting.insert(id);
    }

    /// Clears an operand that the assembler has set.
    fn clear(&mut self, section: usize, offset: u64, reference: &Reference<'_>) {
        let arch = self.pair.diff.patched.arch;
        let Some(field) = arch.field(reference.kind) else {
            return;
        };
        let Some(section) = self.module.plan.sections.get_mut(section) else {
            return;
        };
        let bytes = section
            .bytes
            .iter_mut()
            .skip(offset as usize)
            .take(field.size.into());
        for (at, byte) in (0..).zip(bytes) {
            *byte &= !field.byte(at, arch.big_endian());
        }
    }

    /// Returns the symbol and the addend for a reference, or nothing if it is left out.
    fn target(&mut self, from: BlockId, reference: &Reference<'_>) -> Option<(Option<usize>, i64)> {
        let diff = self.pair.diff;
        let patched = &diff.patched;
        match reference.target {
            Target::Nothing(number) => Some((None, number)),
            Target::Section(..) => None,
            Target::External(name) => Some((Some(self.external(from, name)), reference.bias)),
            Target::Block(id, offset)
                if select::stays_outside(
                    patched,
                    &diff.pairs,
                    &diff.selection,
                    from,
                    reference,
                ) =>
            {
                let original = diff.pairs.original(id)?;
                let symbol = self.original(from, original);
                let addend = offset.wrapping_sub(patched[id].entry as i64);
                Some((Some(symbol), addend.wrapping_add(reference.bias)))
            }
            Target::Block(id, offset) => {
                let Placed {
                    section,
                    offset: base,
                    symbol,
                } = *self.pair.placed.get(&id)?;
                match symbol {
                    Some(symbol) => {
                        let named = patched[id]
                            .symbols
                            .first()
                            .map_or(0, |named| named.offset as i64);
                        let addend = offset.wrapping_sub(named).wrapping_add(reference.bias);
                        Some((Some(symbol), addend))
                    }
                    // The linker makes a slot for each symbol, so the place needs one of its own.
                    None if patched.arch.is_slot(reference.kind) => {
                        let value = base.wrapping_add(offset as u64);
                        let label = self.module.plan.label(section, value);
                        Some((Some(label), reference.bias))
                    }
                    None => {
                        let addend = (base as i64)
                            .wrapping_add(offset)
                            .wrapping_add(reference.bias);
                        Some((Some(self.module.plan.section_symbol(section)), addend))
                    }
                }
            }
        }
    }

    /// The object that is patched.
    fn object(&self) -> &str {
        self.pair.environment.module.unwrap_or("vmlinux")
    }

    /// Returns the symbol for one that the patched object does not define.
    fn external(&mut self, from: BlockId, name: &str) -> usize {
        if let Some(symbol) = self.global(from, name) {
            return symbol;
        }
        let Some(exports) = self.pair.environment.exports else {
            return self.module.plan.undefined(name.to_owned());
        };
        let patched_here = self
            .pair
            .environment
            .image
            .is_some_and(|image| image.defines(name));
        let object = match (exports.exporter(name), self.pair.environment.module) {
            _ if self.pair.diff.patched.arch.is_of_loader(name) => {
                return self.module.plan.undefined(name.to_owned())
            }
            (Some("vmlinux"), _) => return self.module.plan.undefined(name.to_owned()),
            (Some(exporter), _) => exporter.to_owned(),
            (None, Some(module)) if patched_here => module.to_owned(),
            (None, _) => "vmlinux".to_owned(),
        };
        let own = object == self.object();
        let position = match self.pair.environment.image.filter(|_| own) {
            Some(image) => image.position(&Wanted {
                name,
                file: "",
                size: 0,
                local: false,
                neighbours: &self.pair.neighbours,
            }),
            None => Ok(0),
        };
        let position = position.unwrap_or_else(|reason| {
            self.refuse(from, name, reason);
            0
        });
        self.outside(&object, name, position)
    }

    /// Returns a new global symbol of another pair: of the same kernel object, of the kernel, or for
    /// a module of another one, if nothing else has the name. All of them are in the live patch.
    fn global(&mut self, from: BlockId, name: &str) -> Option<usize> {
        let Environment {
            module: own,
            image,
            exports,
            ..
        } = *self.pair.environment;
        let named = |owner: &&Owner<'a>| owner.1 == name;
        let all: Vec<_> = self.module.globals.keys().filter(named).copied().collect();
        let find = |module| all.iter().find(|owner| owner.0 == module).copied();
        let owner = match find(own).or_else(|| find(None)) {
            Some(owner) => owner,
            None => {
                let exported = exports.and_then(|exports| exports.exporter(name));
                let elsewhere = image.is_some_and(|image| image.defines_global(name))
                    || exported.is_some_and(|by| find(Some(by)).is_none());
                let &owner = all.first().filter(|_| own.is_some() && !elsewhere)?;
                if all.len() > 1 {
                    self.refuse(from, name, Reason::DefinedTwice);
                }
                owner
            }
        };
        self.pair.uses.entry(from).or_default().insert(owner);
        self.module.globals.get(&owner).copied()
    }

    /// Returns the symbol for a block that stays in the patched object.
    fn original(&mut self, from: BlockId, id: BlockId) -> usize {
        let original = &self.pair.diff.original;
        let name = original.name(id);
        let exports = self.pair.environment.exports;
        let exported = exports.and_then(|exports| exports.exporter(name)) == Some("vmlinux");
        if exported && original.is_global(id) && self.pair.environment.module.is_none() {
            return self.module.plan.undefined(name.to_owned());
        }
        let position = self.pair.position(id).unwrap_or_else(|reason| {
            self.refuse(from, name, reason);
            0
        });
        let object = self.object().to_owned();
        self.outside(&object, name, position)
    }

    /// Returns a symbol that livepatch finds. Relocations to the kernel's own can be applied as soon
    /// as the live patch is loaded, the others when the patched module is.
    fn outside(&mut self, object: &str, name: &str, position: u64) -> usize {
        let section = if object == "vmlinux" {
            object
        } else {
            self.object()
        };
        let name = finish::name(section, object, name, position);
        self.module.plan.undefined(name)
    }

    pub fn refuse(&mut self, id: BlockId, symbol: &str, reason: Reason) {
        let patched = &self.pair.diff.patched;
        self.module.refusals.insert(Refusal {
            file: patched.source.to_owned(),
            section: patched.section(id).name.to_owned(),
            symbol: symbol.to_owned(),
            change: None,
            reason,
        });
    }

    /// Lists the patch sites of the functions in the module, as the object does.
    fn sites(&mut self, included: &[BlockId]) {
        let patched = &self.pair.diff.patched;
        for &id in included {
            let (Some(site), Some(&placed)) = (patched[id].site, self.pair.placed.get(&id)) else {
                continue;
            };
            let name = match patched.has_section("__mcount_loc") {
                true => "__mcount_loc",
                false => "__patchable_function_entries",
            };
            let mut lists = patched.sections.iter().filter(|list| list.name == name);
            let shape = Shape::data(elf::SHF_WRITE, 8);
            let plan = &mut self.module.plan;
            let index = match lists.any(|list| list.flags.0 & elf::SHF_LINK_ORDER.0 != 0) {
                true => plan.ordered_section(name, shape, placed.section),
                false => plan.section(name, shape),
            };
            tables::pointer(plan, patched.arch, index, (placed, site));
        }
    }
}
