// SPDX-License-Identifier: GPL-2.0
//! Writes the object of the module: what was selected, the tables that livepatch reads, and
//! references to what stays in the kernel.

use crate::emit;
use crate::error::{Error, Reason, Refusal};
use crate::finish;
use crate::graph::{BlockId, Kind, Reference, Target};
use crate::names;
use crate::outside::Wanted;
use crate::plan::{Plan, PlanRelocation, PlanSymbol, Shape};
use crate::section::Role;
use crate::select::{self, has_site};
use crate::special::{Entries, Special};
use crate::{Diff, Environment};
use object::elf;
use std::collections::{BTreeMap, BTreeSet};

/// Where a block is in the module.
#[derive(Clone, Copy, Debug)]
struct Placed {
    section: usize,
    offset: u64,
    /// The symbol that names it.
    symbol: Option<usize>,
}

struct Write<'a, 'd> {
    diff: &'a Diff<'d>,
    environment: &'a Environment<'a>,
    plan: Plan,
    placed: BTreeMap<BlockId, Placed>,
    /// The local functions of the original, which tell its file from others of the same name.
    neighbours: BTreeSet<&'a str>,
    refusals: BTreeSet<Refusal>,
}

/// Writes the object.
pub fn write(diff: &Diff<'_>, environment: &Environment<'_>) -> Result<Vec<u8>, Error> {
    let original = &diff.original;
    let local = |id: &BlockId| original[*id].kind == Kind::Function && !original.is_global(*id);
    let mut write = Write {
        diff,
        environment,
        plan: Plan::default(),
        placed: BTreeMap::new(),
        neighbours: original
            .ids()
            .filter(local)
            .map(|id| original.name(id))
            .collect(),
        refusals: BTreeSet::new(),
    };
    let included: Vec<_> = diff.selection.included.iter().copied().collect();
    included.iter().for_each(|&id| write.place(id));
    included.iter().for_each(|&id| write.refer(id));
    write.sites(&included);
    write.livepatch();
    write.modinfo();
    if !write.refusals.is_empty() {
        return Err(Error::Refused(write.refusals.into_iter().collect()));
    }
    let patched = &diff.patched;
    emit::emit(&write.plan, patched.arch, patched.flags, patched.source)
}

impl Write<'_, '_> {
    /// Puts a block into a section.
    fn place(&mut self, id: BlockId) {
        let patched = &self.diff.patched;
        let (block, section) = (&patched[id], patched.section(id));
        let alone = matches!(patched.by_section.get(block.section), Some(all) if all.len() == 1);
        let name = match (block.private || alone, block.symbols.first()) {
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
        let index = self.plan.section(
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
        let offset = self.plan.append(index, block.bytes, size, align, remainder);
        let mut symbol = None;
        for named in &block.symbols {
            let changed = self.diff.pairs.original(id).is_some();
            let added = self.plan.symbol(PlanSymbol {
                name: named.name.to_owned(),
                section: Some(index),
                value: offset.saturating_add(named.offset),
                size: named.size,
                // The kernel has the global symbol of this name already.
                bind: if changed { elf::STB_LOCAL } else { named.bind },
                kind: named.kind,
                other: named.other,
            });
            symbol.get_or_insert(added);
        }
        self.placed.insert(
            id,
            Placed {
                section: index,
                offset,
                symbol,
            },
        );
    }

    /// Returns the size of the entries of a block's section: the last one may lack padding.
    fn size_of_entries(&self, id: BlockId) -> Option<u64> {
        let patched = &self.diff.patched;
        let first = patched.by_section.get(patched[id].section)?.first()?;
        Some(patched[*first].size)
    }

    /// Writes the relocations of a block.
    fn refer(&mut self, id: BlockId) {
        let diff = self.diff;
        let Some(&placed) = self.placed.get(&id) else {
            return;
        };
        for reference in &diff.patched[id].references {
            let Some((symbol, addend)) = self.target(id, reference) else {
                continue;
            };
            let offset = placed.offset.saturating_add(reference.offset);
            if reference.implicit {
                self.clear(placed.section, offset, reference);
            }
            self.plan.relocate(
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

    /// Clears an operand that the assembler has set.
    fn clear(&mut self, section: usize, offset: u64, reference: &Reference<'_>) {
        let arch = self.diff.patched.arch;
        let Some(field) = arch.field(reference.kind) else {
            return;
        };
        let Some(section) = self.plan.sections.get_mut(section) else {
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
        let diff = self.diff;
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
                } = *self.placed.get(&id)?;
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
                        let label = self.plan.label(section, value);
                        Some((Some(label), reference.bias))
                    }
                    None => {
                        let addend = (base as i64)
                            .wrapping_add(offset)
                            .wrapping_add(reference.bias);
                        Some((Some(self.plan.section_symbol(section)), addend))
                    }
                }
            }
        }
    }

    /// The object that is patched.
    fn object(&self) -> &str {
        self.environment.module.unwrap_or("vmlinux")
    }

    /// Returns the symbol for one that the patched object does not define.
    fn external(&mut self, from: BlockId, name: &str) -> usize {
        let Some(exports) = self.environment.exports else {
            return self.plan.undefined(name.to_owned());
        };
        let patched_here = self
            .environment
            .image
            .is_some_and(|image| image.defines(name));
        let object = match (exports.exporter(name), self.environment.module) {
            // Linkers and module loaders make it.
            _ if name == ".TOC." => return self.plan.undefined(name.to_owned()),
            (Some("vmlinux"), _) => return self.plan.undefined(name.to_owned()),
            (Some(exporter), _) => exporter.to_owned(),
            (None, Some(module)) if patched_here => module.to_owned(),
            (None, _) => "vmlinux".to_owned(),
        };
        let own = object == self.object();
        let position = match self.environment.image.filter(|_| own) {
            Some(image) => image.position(&Wanted {
                name,
                file: "",
                size: 0,
                local: false,
                neighbours: &self.neighbours,
            }),
            None => Ok(0),
        };
        let position = position.unwrap_or_else(|reason| {
            self.refuse(from, name, reason);
            0
        });
        self.outside(&object, name, position)
    }

    /// Returns the symbol for a block that stays in the patched object.
    fn original(&mut self, from: BlockId, id: BlockId) -> usize {
        let original = &self.diff.original;
        let name = original.name(id);
        let exports = self.environment.exports;
        let exported = exports.and_then(|exports| exports.exporter(name)) == Some("vmlinux");
        if exported && original.is_global(id) && self.environment.module.is_none() {
            return self.plan.undefined(name.to_owned());
        }
        let position = self.position(id).unwrap_or_else(|reason| {
            self.refuse(from, name, reason);
            0
        });
        let object = self.object().to_owned();
        self.outside(&object, name, position)
    }

    /// Returns the position in the image of a block of the original.
    fn position(&self, id: BlockId) -> Result<u64, Reason> {
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

    /// Returns a symbol that livepatch finds. Relocations to the kernel's own can be applied as soon
    /// as the live patch is loaded, the others when the patched module is.
    fn outside(&mut self, object: &str, name: &str, position: u64) -> usize {
        let section = if object == "vmlinux" {
            object
        } else {
            self.object()
        };
        let name = finish::name(section, object, name, position);
        self.plan.undefined(name)
    }

    fn refuse(&mut self, id: BlockId, symbol: &str, reason: Reason) {
        let patched = &self.diff.patched;
        self.refusals.insert(Refusal {
            file: patched.source.to_owned(),
            section: patched.section(id).name.to_owned(),
            symbol: symbol.to_owned(),
            change: None,
            reason,
        });
    }

    /// Lists the patch sites of the functions in the module, as the object does.
    fn sites(&mut self, included: &[BlockId]) {
        let patched = &self.diff.patched;
        for &id in included {
            let (Some(site), Some(&placed)) = (patched[id].site, self.placed.get(&id)) else {
                continue;
            };
            let name = match patched.has_section("__mcount_loc") {
                true => "__mcount_loc",
                false => "__patchable_function_entries",
            };
            let index = self.plan.section(name, Shape::data(elf::SHF_WRITE, 8));
            self.pointer(index, placed, site);
        }
    }

    /// Appends a pointer to a place in a block.
    fn pointer(&mut self, section: usize, to: Placed, offset: u64) {
        let at = self.plan.append(section, &[0; 8], 8, 8, 0);
        let symbol = self.plan.section_symbol(to.section);
        let addend = (to.offset as i64).wrapping_add(offset as i64);
        let kind = self.diff.patched.arch.address64();
        let relocation = PlanRelocation {
            offset: at,
            kind,
            symbol: Some(symbol),
            addend,
        };
        self.plan.relocate(section, relocation);
    }

    /// Appends a pointer to a new string.
    fn string(&mut self, section: usize, text: &str) {
        let strings = self
            .plan
            .section(".rodata.klp.str1.1", Shape::data(elf::SectionFlags(0), 1));
        let bytes = [text.as_bytes(), b"\0"].concat();
        let offset = self.plan.append(strings, &bytes, bytes.len() as u64, 1, 0);
        self.pointer(
            section,
            Placed {
                section: strings,
                offset,
                symbol: None,
            },
            0,
        );
    }

    fn number(&mut self, section: usize, number: u64) {
        let bytes = match self.diff.patched.arch.big_endian() {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        self.plan.append(section, &bytes, 8, 8, 0);
    }

    /// Writes `struct klp_func_ext` for each replaced function, and one `struct klp_object_ext`.
    fn livepatch(&mut self) {
        let diff = self.diff;
        let functions = self
            .plan
            .section(".init.klp_funcs", Shape::data(elf::SHF_WRITE, 8));
        let mut count = 0_u64;
        for &id in diff.selection.changed.keys() {
            let (Some(one), Some(&placed)) = (diff.pairs.original(id), self.placed.get(&id)) else {
                continue;
            };
            if names::parent(diff.patched.name(id)).is_some() || !has_site(&diff.original, one) {
                continue;
            }
            let name = diff.original.name(one);
            let position = self.position(one).unwrap_or_else(|reason| {
                self.refuse(id, name, reason);
                0
            });
            self.string(functions, name);
            self.pointer(functions, placed, diff.patched[id].entry);
            self.number(functions, position);
            count += 1;
        }
        let objects = self
            .plan
            .section(".init.klp_objects", Shape::data(elf::SHF_WRITE, 8));
        match self.environment.module {
            Some(module) => self.string(objects, module),
            None => self.number(objects, 0),
        }
        self.pointer(
            objects,
            Placed {
                section: functions,
                offset: 0,
                symbol: None,
            },
            0,
        );
        for callback in diff.wishes.callbacks {
            match callback.and_then(|id| Some((*self.placed.get(&id)?, diff.patched[id].entry))) {
                Some((placed, entry)) => self.pointer(objects, placed, entry),
                None => self.number(objects, 0),
            }
        }
        // `post_unpatch_enabled` is livepatch's own.
        self.number(objects, 0);
        let count = match diff.patched.arch.big_endian() {
            true => count << 32,
            false => count,
        };
        self.number(objects, count);
    }

    fn modinfo(&mut self) {
        let section = self
            .plan
            .section(".modinfo", Shape::data(elf::SectionFlags(0), 1));
        let namespaces = self
            .diff
            .patched
            .namespaces
            .iter()
            .map(|name| ("import_ns", *name));
        let fields = [("livepatch", "Y")].into_iter().chain(namespaces);
        for (name, value) in fields.chain(self.environment.modinfo.iter().copied()) {
            let field = format!("{name}={value}\0");
            self.plan
                .append(section, field.as_bytes(), field.len() as u64, 1, 0);
        }
    }
}
