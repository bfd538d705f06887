// SPDX-License-Identifier: GPL-2.0
//! Finds what each relocation means: which block it is in, and what it refers to.

use crate::arch::{Arch, Flow, Relocation};
use crate::code;
use crate::cut::{self, Cut};
use crate::error::{Error, Input};
use crate::graph::{BlockId, Kind, Object, Reference, Section, Target};
use crate::read::{self, Place, Raw, RawRelocation};
use crate::section::Role;
use crate::special::Fields;
use object::elf;
use std::collections::BTreeSet;

/// What is known of all relocations before the sections are cut.
pub struct Places {
    /// The offsets in each section that something refers to without a symbol of their own.
    pub referred: Vec<BTreeSet<u64>>,
    /// For each relocation of each section: the distance from `symbol + addend` to what it means.
    distances: Vec<Vec<i64>>,
}

/// Reads an object as a graph.
pub fn graph<'d>(input: Input, bytes: &'d [u8]) -> Result<Object<'d>, Error> {
    let raw = read::read(input, bytes)?;
    let places = places(&raw);
    let cut = cut::cut(input, &raw, &places)?;
    let source = cut::source(&raw);
    let Cut {
        blocks,
        by_section,
        by_symbol,
    } = cut;
    let modinfo = raw
        .sections
        .iter()
        .filter(|section| section.name == ".modinfo");
    let fields = modinfo.flat_map(|section| section.bytes.split(|&byte| byte == 0));
    let namespaces = fields
        .filter_map(|field| std::str::from_utf8(field).ok()?.split_once("import_ns="))
        .map(|(_, namespace)| namespace)
        .collect();
    let mut object = Object {
        arch: raw.arch,
        flags: raw.flags,
        source,
        sections: raw.sections,
        blocks,
        by_section,
        namespaces,
    };
    let mut references = Vec::new();
    for (index, relocations) in raw.relocations.iter().enumerate() {
        let distances = places
            .distances
            .get(index)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (relocation, &distance) in relocations.iter().zip(distances) {
            let symbol = raw.symbols.get(relocation.symbol);
            let named = by_symbol.get(&relocation.symbol).copied();
            let Some(symbol) = symbol else { continue };
            let slot = raw.arch.is_slot(relocation.kind);
            let target = match symbol.place {
                Place::Section(at) if slot => located(&object, at, symbol.value as i64, named),
                Place::Section(at) => {
                    let offset = value(symbol.value, relocation.addend, distance);
                    located(&object, at, offset, named)
                }
                Place::Absolute => Target::Nothing(value(symbol.value, relocation.addend, 0)),
                Place::Undefined if symbol.name.is_empty() => Target::Nothing(relocation.addend),
                Place::Undefined => Target::External(symbol.name),
            };
            let found = Found {
                slot,
                section: index,
                relocation,
                target,
                distance,
            };
            references.extend(found.place(&object));
            if object.sections.get(index).is_some_and(|section| {
                section.role == Role::Sites && raw.arch.lists_sites(section.name)
            }) {
                if let Target::Block(id, offset) = target {
                    if let Some(block) = object.blocks.get_mut(id.0) {
                        let listed = u64::try_from(offset).ok();
                        block.site = listed.map(|listed| raw.arch.site(block, listed));
                    }
                }
            }
        }
    }
    for (BlockId(id), reference) in references {
        if let Some(block) = object.blocks.get_mut(id) {
            block.references.push(reference);
        }
    }
    implicit(&mut object);
    unshift_tables(&mut object);
    Ok(object)
}

/// A relocation, and what it refers to.
struct Found<'a, 'd> {
    section: usize,
    relocation: &'a RawRelocation,
    target: Target<'d>,
    distance: i64,
    slot: bool,
}

impl<'d> Found<'_, 'd> {
    /// Returns the block that the relocation is in, and the reference that it becomes there.
    fn place(&self, object: &Object<'d>) -> Option<(BlockId, Reference<'d>)> {
        let at = i64::try_from(self.relocation.offset).ok()?;
        let (id, offset) = object.block_at(self.section, at)?;
        let bias = match self.target {
            Target::External(_) => self.relocation.addend,
            _ if self.slot => self.relocation.addend,
            Target::Block(..) | Target::Section(..) => self.distance.wrapping_neg(),
            Target::Nothing(_) => 0,
        };
        let reference = Reference {
            offset: u64::try_from(offset).ok()?,
            kind: self.relocation.kind,
            target: self.target,
            bias,
            branch: false,
            implicit: false,
        };
        Some((id, reference))
    }
}

fn value(symbol: u64, addend: i64, distance: i64) -> i64 {
    (symbol as i64).wrapping_add(addend).wrapping_add(distance)
}

fn located<'d>(
    object: &Object<'d>,
    section: usize,
    offset: i64,
    named: Option<BlockId>,
) -> Target<'d> {
    let in_block = match named {
        Some(id) => Some((id, offset.wrapping_sub(object[id].start as i64))),
        None => object.block_at(section, offset),
    };
    match in_block {
        Some((id, offset)) => Target::Block(id, offset),
        None => Target::Section(section, offset),
    }
}

fn places(raw: &Raw<'_>) -> Places {
    let mut places = Places {
        referred: vec![BTreeSet::new(); raw.sections.len()],
        distances: Vec::new(),
    };
    for (index, relocations) in raw.relocations.iter().enumerate() {
        let distances = distances(raw, index, relocations);
        for (relocation, &distance) in relocations.iter().zip(&distances) {
            let Some(symbol) = raw.symbols.get(relocation.symbol) else {
                continue;
            };
            let Place::Section(to) = symbol.place else {
                continue;
            };
            let sites = raw
                .sections
                .get(index)
                .is_some_and(|section| section.role == Role::Sites);
            let label = !matches!(symbol.kind, elf::STT_FUNC | elf::STT_OBJECT | elf::STT_TLS);
            let slot = raw.arch.is_slot(relocation.kind);
            let addend = if slot { 0 } else { relocation.addend };
            let offset = u64::try_from(value(symbol.value, addend, distance));
            if let (true, false, Ok(offset), Some(set)) =
                (label, sites, offset, places.referred.get_mut(to))
            {
                set.insert(offset);
            }
        }
        places.distances.push(distances);
    }
    places
}

/// Returns the distances of a section's relocations: none in data, in code what its instructions
/// make of them.
fn distances(raw: &Raw<'_>, index: usize, relocations: &[RawRelocation]) -> Vec<i64> {
    let mut distances = vec![0; relocations.len()];
    let Some(section) = raw.sections.get(index) else {
        return distances;
    };
    if !section.is_executable() {
        return distances;
    }
    // Where instructions start is only known at symbols: what is between functions is no code.
    let mut starts: BTreeSet<u64> = raw
        .symbols
        .iter()
        .filter(|symbol| symbol.place == Place::Section(index) && symbol.kind != elf::STT_OBJECT)
        .map(|symbol| symbol.value)
        .collect();
    starts.insert(0);
    let ends: Vec<u64> = starts
        .iter()
        .copied()
        .skip(1)
        .chain([section.size])
        .collect();
    for (&start, end) in starts.iter().zip(ends) {
        let range = start as usize..end as usize;
        let code = section.bytes.get(range).unwrap_or_default();
        let mut instructions = code::instructions(raw.arch, code).peekable();
        let first = relocations.partition_point(|relocation| relocation.offset < start);
        let all = relocations.iter().zip(&mut distances).skip(first);
        for (relocation, distance) in all.take_while(|(relocation, _)| relocation.offset < end) {
            let at = relocation.offset.saturating_sub(start);
            let ends = |at: usize, size: usize| at.saturating_add(size) as u64;
            while instructions
                .next_if(|(from, found)| ends(*from, found.size) <= at)
                .is_some()
            {}
            // Where the code can't be decoded, the field is taken to end its instruction.
            let size = raw.arch.width(relocation.kind);
            let (from, to) = match instructions.peek() {
                Some((from, found)) if *from as u64 <= at => {
                    (*from as u64, ends(*from, found.size))
                }
                _ => (at.saturating_sub(2), at.saturating_add(size)),
            };
            *distance = raw.arch.distance(relocation.kind, from, at, to);
        }
    }
    distances
}

/// Adds what the assembler has resolved without a relocation: branches to other functions of the
/// same section.
fn implicit(object: &mut Object<'_>) {
    for id in object.ids().collect::<Vec<_>>() {
        let block = &object[id];
        if block.kind != Kind::Function {
            continue;
        }
        let entry = usize::try_from(block.entry).unwrap_or(0);
        let code = block.bytes.get(entry..).unwrap_or_default();
        let relocated = |from: usize, to: usize| {
            let inside = entry.saturating_add(from) as u64..entry.saturating_add(to) as u64;
            let next = block
                .references
                .partition_point(|have| have.offset < inside.start);
            block
                .references
                .get(next)
                .is_some_and(|have| inside.contains(&have.offset))
        };
        let (mut new, mut unknown) = (Vec::new(), None);
        for branch in code::branches(object.arch, code, relocated) {
            let target = branch.target.wrapping_add(entry as i64);
            if (0..block.size as i64).contains(&target) {
                continue;
            }
            let at = entry.saturating_add(branch.at);
            let goal = target.wrapping_add(block.start as i64);
            match (
                object.arch.branch(block.bytes, at),
                object.block_at(block.section, goal),
            ) {
                (Some((kind, field)), Some((to, offset))) => new.push(Reference {
                    offset: (at as u64).saturating_add(field),
                    kind,
                    target: Target::Block(to, offset),
                    bias: implicit_bias(object, kind, at as u64, field),
                    branch: true,
                    implicit: true,
                }),
                _ => unknown = Some(at as u64),
            }
        }
        let marked: Vec<bool> = marks(object.arch, block.bytes, entry, &block.references);
        if let Some(block) = object.blocks.get_mut(id.0) {
            for (reference, branch) in block.references.iter_mut().zip(marked) {
                reference.branch = branch;
            }
            block.references.extend(new);
            block.references.sort_by_key(|reference| reference.offset);
            block.unknown = unknown;
        }
    }
}

/// Returns which references are operands of calls and jumps.
fn marks(arch: &dyn Arch, bytes: &[u8], entry: usize, references: &[Reference<'_>]) -> Vec<bool> {
    let code = bytes.get(entry..).unwrap_or_default();
    let mut instructions = code::instructions(arch, code).peekable();
    let is_branch = |reference: &Reference<'_>| {
        let ends = |at: usize, size: usize| entry.saturating_add(at).saturating_add(size) as u64;
        while instructions
            .next_if(|(at, found)| ends(*at, found.size) <= reference.offset)
            .is_some()
        {}
        let holds = |at: usize| entry.saturating_add(at) as u64 <= reference.offset;
        instructions.peek().is_some_and(|(at, found)| {
            holds(*at) && matches!(found.flow, Flow::Jump(_) | Flow::Call(_))
        })
    };
    references.iter().map(is_branch).collect()
}

fn implicit_bias(object: &Object<'_>, kind: elf::RelocationType, at: u64, field: u64) -> i64 {
    let offset = at.saturating_add(field);
    let end = offset.saturating_add(object.arch.width(kind));
    object.arch.distance(kind, at, offset, end).wrapping_neg()
}

/// Undoes what distances in a jump table add to its relocations: they count from the table, and
/// relocations from the entry.
fn unshift_tables(object: &mut Object<'_>) {
    for id in object.ids().collect::<Vec<_>>() {
        let block = &object[id];
        let section = object.section(id);
        let counts_from_start = match section.role {
            Role::Special(special) => special.fields == Fields::FromStart,
            role => block.private && role.is_constant(),
        };
        if !counts_from_start {
            continue;
        }
        let mut references = block.references.clone();
        for reference in &mut references {
            let (section, place) = match reference.target {
                Target::Block(to, offset) => (
                    object[to].section,
                    offset.wrapping_add(object[to].start as i64),
                ),
                Target::Section(section, place) => (section, place),
                _ => continue,
            };
            let relative = matches!(
                object.arch.relocation(reference.kind),
                Some(Relocation::Relative(_))
            );
            let code = object
                .sections
                .get(section)
                .is_some_and(Section::is_executable);
            let shift = reference.offset as i64;
            let found = object.block_at(section, place.wrapping_sub(shift));
            if let (true, true, Some((to, offset))) = (relative, code, found) {
                reference.target = Target::Block(to, offset);
                reference.bias = reference.bias.wrapping_add(shift);
            }
        }
        if let Some(block) = object.blocks.get_mut(id.0) {
            block.references = references;
        }
    }
}
