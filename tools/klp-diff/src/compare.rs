// SPDX-License-Identifier: GPL-2.0
//! Decides whether two blocks differ in meaning.
//!
//! Bytes that a relocation writes do not count, and relocations count by what they refer to. Line
//! numbers do not count: see [`crate::lines`].

use crate::correlate::Correlation;
use crate::error::Error;
use crate::graph::{BlockId, Kind, Object, Reference, Target};
use crate::lines;
use crate::names;
use crate::section::Role;
use crate::special::{Entries, Fields};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

/// What differs between two versions of a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The size.
    Size,
    /// Bytes, at this offset.
    Bytes(u64),
    /// What the reference at this offset refers to: before, and after.
    Reference(u64, String, String),
    /// The entries of this special section.
    Entries(String),
    /// The part that was split from it.
    Part(String),
    /// A constant that it uses.
    Constant(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("its size"),
            Self::Bytes(at) => write!(f, "its bytes at {at:#x}"),
            Self::Reference(at, from, to) => {
                write!(f, "its reference at {at:#x}: {from}, now {to}")
            }
            Self::Entries(section) => write!(f, "its entries in {section}"),
            Self::Part(part) => write!(f, "its part {part}"),
            Self::Constant(constant) => write!(f, "the constant {constant}"),
        }
    }
}

/// Compares the blocks of two objects.
pub struct Comparison<'a, 'd> {
    original: &'a Object<'d>,
    patched: &'a Object<'d>,
    pairs: &'a Correlation,
    /// The entries of special sections, by the function that they belong to.
    entries: [BTreeMap<BlockId, Vec<BlockId>>; 2],
    /// How many more blocks may be looked into.
    fuel: Cell<u64>,
}

/// How deep constants may refer to each other.
const DEPTH: usize = 64;

impl<'a, 'd> Comparison<'a, 'd> {
    /// Prepares to compare.
    pub fn new(original: &'a Object<'d>, patched: &'a Object<'d>, pairs: &'a Correlation) -> Self {
        let entries = |object: &Object<'_>| {
            let mut owned: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for entry in object.ids().filter(|&id| object[id].kind == Kind::Entry) {
                if let Some(owner) = object.owner(entry).or_else(|| beside(object, entry)) {
                    owned.entry(owner).or_default().push(entry);
                }
            }
            owned
        };
        Self {
            original,
            patched,
            pairs,
            entries: [entries(original), entries(patched)],
            fuel: Cell::new(50_000_000),
        }
    }

    /// Returns the entries of special sections that belong to a function of the patched object.
    pub fn entries(&self, function: BlockId) -> &[BlockId] {
        self.entries[1]
            .get(&function)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Returns how a block differs from its original.
    pub fn difference(&self, one: BlockId, other: BlockId) -> Result<Option<Difference>, Error> {
        let mut path = Vec::new();
        let found = match self.blocks(one, other, &mut path)? {
            None if self.original[one].kind == Kind::Function => self.entries_of(one, other)?,
            found => found,
        };
        Ok(found)
    }

    fn blocks(
        &self,
        one: BlockId,
        other: BlockId,
        path: &mut Vec<(BlockId, BlockId)>,
    ) -> Result<Option<Difference>, Error> {
        // A block that refers to itself is the same if everything else is.
        if path.contains(&(one, other)) {
            return Ok(None);
        }
        let fuel = self
            .fuel
            .get()
            .checked_sub(1 + self.original[one].size / 64);
        self.fuel.set(fuel.ok_or(Error::TooComplex)?);
        if path.len() > DEPTH {
            return Err(Error::TooComplex);
        }
        path.push((one, other));
        let difference = self.contents(one, other, path);
        path.pop();
        difference
    }

    fn contents(
        &self,
        one: BlockId,
        other: BlockId,
        path: &mut Vec<(BlockId, BlockId)>,
    ) -> Result<Option<Difference>, Error> {
        let (before, after) = (&self.original[one], &self.patched[other]);
        if before.size != after.size || before.entry != after.entry || before.kind != after.kind {
            return Ok(Some(Difference::Size));
        }
        if before.bytes.len() != after.bytes.len() {
            return Ok(Some(Difference::Bytes(0)));
        }
        let lines = lines::lines(self.original, one, self.patched, other);
        let masks = |object: &Object<'_>, references: &[Reference<'_>]| {
            let fields = references.iter().filter_map(|reference| {
                Some((reference.offset, object.arch.field(reference.kind)?))
            });
            fields.collect::<Vec<_>>()
        };
        let fields = masks(self.patched, &after.references);
        let big = self.patched.arch.big_endian();
        let differs = |at: usize, (a, b): (&u8, &u8)| {
            let at = at as u64;
            a != b
                && !lines.iter().any(|line| line.contains(&at))
                && ((a ^ b) & !masked(&fields, at, big)) != 0
        };
        let mut bytes = before.bytes.iter().zip(after.bytes).enumerate();
        if let Some((at, _)) = bytes.find(|&(at, pair)| differs(at, pair)) {
            return Ok(Some(Difference::Bytes(at as u64)));
        }
        let empty = match self.patched.section(other).role {
            Role::Special(special) => match special.fields {
                Fields::Derived => return Ok(None),
                Fields::Replacement(lengths) => {
                    let length = lengths.iter().find(|(size, _)| *size == after.size);
                    length.is_some_and(|(_, at)| after.bytes.get(*at as usize) == Some(&0))
                }
                _ => false,
            },
            _ => false,
        };
        for (a, b) in before.references.iter().zip(&after.references) {
            let piece = |object: &Object<'_>, target| matches!(target, Target::Block(id, _) if object[id].kind == Kind::Entry);
            if empty
                && a.offset == b.offset
                && piece(self.patched, b.target)
                && piece(self.original, a.target)
            {
                continue;
            }
            if a.offset != b.offset || a.kind != b.kind || !self.targets(one, a, other, b, path)? {
                let (from, to) = (describe(self.original, a), describe(self.patched, b));
                return Ok(Some(Difference::Reference(b.offset, from, to)));
            }
        }
        // One has more of them than the other: the first that the other lacks.
        let common = before.references.len().min(after.references.len());
        let nothing = || "nothing".to_owned();
        let lost = before
            .references
            .get(common)
            .map(|own| Difference::Reference(own.offset, describe(self.original, own), nothing()));
        let gained = after
            .references
            .get(common)
            .map(|own| Difference::Reference(own.offset, nothing(), describe(self.patched, own)));
        Ok(lost.or(gained))
    }

    /// Whether two references mean the same.
    fn targets(
        &self,
        one: BlockId,
        a: &Reference<'_>,
        other: BlockId,
        b: &Reference<'_>,
        path: &mut Vec<(BlockId, BlockId)>,
    ) -> Result<bool, Error> {
        Ok(match (a.target, b.target) {
            (Target::Block(x, at), Target::Block(y, offset)) => {
                let (from, to) = (&self.original[x], &self.patched[y]);
                if (x, y) == (one, other) {
                    at == offset
                } else if from.private != to.private {
                    false
                } else if !to.private {
                    let same =
                        at.wrapping_sub(from.entry as i64) == offset.wrapping_sub(to.entry as i64);
                    same && self.pairs.same(x, y)
                } else {
                    let inert = is_inert(self.original, x) && is_inert(self.patched, y);
                    inert
                        || lines::same_file(self.original, x, self.patched, y)
                        || at == offset && self.blocks(x, y, path)?.is_none()
                }
            }
            (Target::External(from), Target::External(to)) => from == to && a.bias == b.bias,
            (Target::Section(x, at), Target::Section(y, offset)) => {
                let name = |object: &Object<'_>, at: usize| {
                    object
                        .sections
                        .get(at)
                        .map(|section| names::stable(section.name))
                };
                name(self.original, x) == name(self.patched, y) && at == offset
            }
            (Target::Nothing(from), Target::Nothing(to)) => from == to,
            _ => false,
        })
    }

    /// Compares the entries of special sections, section by section and in their order.
    fn entries_of(&self, one: BlockId, other: BlockId) -> Result<Option<Difference>, Error> {
        let by_section = |object: &Object<'d>, ids: Option<&Vec<BlockId>>| {
            let mut sections: BTreeMap<&str, Vec<BlockId>> = BTreeMap::new();
            for &id in ids.into_iter().flatten() {
                if is_compared(object, id) {
                    sections
                        .entry(object.section(id).name)
                        .or_default()
                        .push(id);
                }
            }
            sections
        };
        let before = by_section(self.original, self.entries[0].get(&one));
        let after = by_section(self.patched, self.entries[1].get(&other));
        for name in before.keys().chain(after.keys()) {
            let none = Vec::new();
            let a = before.get(name).unwrap_or(&none);
            let b = after.get(name).unwrap_or(&none);
            let mut same = a.len() == b.len();
            for (&x, &y) in a.iter().zip(b) {
                same &= self.blocks(x, y, &mut Vec::new())?.is_none();
            }
            if !same {
                return Ok(Some(Difference::Entries((*name).to_owned())));
            }
        }
        Ok(None)
    }
}

/// Whether a block is code that runs only until the alternatives have been applied. No module ever
/// runs it.
fn is_inert(object: &Object<'_>, id: BlockId) -> bool {
    object.section(id).name == ".altinstr_aux"
}

/// Returns the owner of the entry that this one stands beside, in another section.
fn beside(object: &Object<'_>, entry: BlockId) -> Option<BlockId> {
    let Role::Special(special) = object.section(entry).role else {
        return None;
    };
    let Entries::Beside(other, _) = special.entries else {
        return None;
    };
    let own = object.by_section.get(object[entry].section)?;
    let at = own.binary_search(&entry).ok()?;
    let index = object
        .sections
        .iter()
        .position(|section| section.name == other)?;
    object.owner(*object.by_section.get(index)?.get(at)?)
}

/// Whether an entry says something that the code does not.
fn is_compared(object: &Object<'_>, entry: BlockId) -> bool {
    let Role::Special(special) = object.section(entry).role else {
        return false;
    };
    special.fields != Fields::Derived && special.entries != Entries::Pieces
}

/// Returns the bits of the byte at `at` that relocations write.
fn masked(fields: &[(u64, crate::arch::Field)], at: u64, big_endian: bool) -> u8 {
    let next = fields.partition_point(|(offset, _)| *offset <= at);
    let mut mask = 0;
    for (offset, field) in fields.iter().take(next).rev().take(4) {
        let byte = at.saturating_sub(*offset);
        if byte < u64::from(field.size) {
            mask |= field.byte(byte, big_endian);
        }
    }
    mask
}

/// Names what a reference refers to.
fn describe(object: &Object<'_>, reference: &Reference<'_>) -> String {
    match reference.target {
        Target::Block(id, offset) => match object[id].symbols.is_empty() {
            true => format!(
                "{}+{:#x}",
                object.name(id),
                offset.wrapping_add(object[id].start as i64)
            ),
            false => format!("{}+{offset:#x}", object.name(id)),
        },
        Target::External(name) => name.to_owned(),
        Target::Section(at, offset) => {
            let name = object.sections.get(at).map_or("", |section| section.name);
            format!("{name}+{offset:#x}")
        }
        Target::Nothing(number) => format!("{number:#x}"),
    }
}
