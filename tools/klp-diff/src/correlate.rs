// SPDX-License-Identifier: GPL-2.0
//! Finds which block of the patched object is which of the original.
//!
//! Only blocks that are known by their names are correlated. What is private to the code that uses
//! it (strings, constants, the state of macros) is compared by contents wherever it is referred to.
//!
//! Names are taken in this order, and each pair is removed before the next step:
//!
//! 1. global symbols and local ones that are unique, by their whole name;
//! 2. functions that the compiler numbered, and those of Rust, by the name without numbers: those with equal bytes
//!    first, then those with equal callers, sizes and names, and in the end by their order;
//! 3. static locals by that name, and by the functions that refer to them.
//!
//! A static local that no function refers to in both objects is not correlated: another variable of
//! the same name may have taken its place.

use crate::graph::{BlockId, Kind, Object};
use crate::names;
use std::collections::{BTreeMap, BTreeSet};

/// Which blocks of both objects are the same thing.
#[derive(Debug, Default)]
pub struct Correlation {
    /// Original of each block of the patched object.
    to_original: BTreeMap<BlockId, BlockId>,
    to_patched: BTreeMap<BlockId, BlockId>,
    /// Blocks of the patched object that may have an original, with that.
    pub doubtful: BTreeMap<BlockId, BlockId>,
    /// Blocks of the patched object that were told from others of the same name only by their
    /// positions.
    pub by_position: BTreeSet<BlockId>,
}

impl Correlation {
    /// Returns the original of a block of the patched object.
    pub fn original(&self, patched: BlockId) -> Option<BlockId> {
        self.to_original.get(&patched).copied()
    }

    /// Returns all pairs, original first, in the order of the patched object.
    pub fn pairs(&self) -> impl Iterator<Item = (BlockId, BlockId)> + '_ {
        self.to_original
            .iter()
            .map(|(&patched, &original)| (original, patched))
    }

    /// Whether these are a pair.
    pub fn same(&self, original: BlockId, patched: BlockId) -> bool {
        self.original(patched) == Some(original)
    }

    fn pair(&mut self, original: BlockId, patched: BlockId) {
        self.to_original.insert(patched, original);
        self.to_patched.insert(original, patched);
    }

    fn is_free(&self, original: BlockId, patched: BlockId) -> bool {
        !self.to_patched.contains_key(&original) && !self.to_original.contains_key(&patched)
    }
}

/// Blocks of both objects with something in common.
type Groups<K> = BTreeMap<K, (Vec<BlockId>, Vec<BlockId>)>;

/// Correlates two objects.
pub fn correlate(original: &Object<'_>, patched: &Object<'_>) -> Correlation {
    let mut pairs = Correlation::default();
    let users = Users {
        original: users(original),
        patched: users(patched),
    };
    let exact = |object: &Object<'_>, id| {
        let name = object.name(id);
        let numbered = names::is_numbered(name)
            || object[id].kind == Kind::Data && names::is_static_local(name);
        let gap = object[id].symbols.is_empty();
        (!numbered || object.is_global(id) || gap).then(|| (object[id].kind, name.to_owned()))
    };
    for (originals, patcheds) in group(original, patched, &pairs, exact).values() {
        match (originals.as_slice(), patcheds.as_slice()) {
            (&[one], &[other]) => pairs.pair(one, other),
            _ => same_place(original, patched, originals, patcheds, &mut pairs),
        }
    }
    functions(original, patched, &users, &mut pairs);
    static_locals(original, patched, &users, &mut pairs);
    pairs
}

fn group<K: Ord>(
    original: &Object<'_>,
    patched: &Object<'_>,
    pairs: &Correlation,
    key: impl Fn(&Object<'_>, BlockId) -> Option<K>,
) -> Groups<K> {
    let mut groups = Groups::new();
    let named = |object: &Object<'_>, id| !object[id].private && object[id].kind != Kind::Entry;
    for id in original
        .ids()
        .filter(|&id| named(original, id) && !pairs.to_patched.contains_key(&id))
    {
        if let Some(key) = key(original, id) {
            groups.entry(key).or_default().0.push(id);
        }
    }
    for id in patched
        .ids()
        .filter(|&id| named(patched, id) && !pairs.to_original.contains_key(&id))
    {
        if let Some(key) = key(patched, id) {
            groups.entry(key).or_default().1.push(id);
        }
    }
    groups
}

/// Correlates blocks of one name by the sections that they are in, and the parts of sections that
/// have no name by their places, if there are as many of them.
fn same_place(
    original: &Object<'_>,
    patched: &Object<'_>,
    originals: &[BlockId],
    patcheds: &[BlockId],
    pairs: &mut Correlation,
) {
    let mut places: BTreeMap<&str, (Vec<BlockId>, Vec<BlockId>)> = BTreeMap::new();
    for &id in originals {
        places
            .entry(original.section(id).name)
            .or_default()
            .0
            .push(id);
    }
    for &id in patcheds {
        places
            .entry(patched.section(id).name)
            .or_default()
            .1
            .push(id);
    }
    for (originals, patcheds) in places.values().filter(|both| both.0.len() == both.1.len()) {
        for (&one, &other) in originals.iter().zip(patcheds) {
            if originals.len() > 1 && !original[one].symbols.is_empty() {
                pairs.by_position.insert(other);
            }
            pairs.pair(one, other);
        }
    }
}

/// Correlates functions that the compiler numbered. A number says little: one more copy of another
/// function moves it.
fn functions(original: &Object<'_>, patched: &Object<'_>, users: &Users, pairs: &mut Correlation) {
    let key = |object: &Object<'_>, id: BlockId| {
        (object[id].kind == Kind::Function).then(|| names::stable(object.name(id)))
    };
    for (originals, patcheds) in group(original, patched, pairs, key).values() {
        let alone = originals.len() == 1 && patcheds.len() == 1;
        let mut scored = Vec::new();
        for (at, &one) in originals.iter().enumerate() {
            for (nth, &other) in patcheds.iter().enumerate() {
                let (before, after) = (&original[one], &patched[other]);
                let same = [
                    before.bytes == after.bytes,
                    users.common(one, other) == Common::All,
                    before.size == after.size,
                    original.name(one) == patched.name(other),
                ];
                scored.push((same.map(|same| !same), at.abs_diff(nth), one, other));
            }
        }
        scored.sort();
        for (differs, _, one, other) in scored {
            if pairs.is_free(one, other) {
                if !alone && differs[..2] == [true; 2] {
                    pairs.by_position.insert(other);
                }
                pairs.pair(one, other);
            }
        }
    }
}

/// Correlates static locals by the functions that use them, in the order in which they do.
fn static_locals(
    original: &Object<'_>,
    patched: &Object<'_>,
    users: &Users,
    pairs: &mut Correlation,
) {
    let key = |object: &Object<'_>, id: BlockId| {
        (object[id].kind == Kind::Data).then(|| names::stable(object.name(id)))
    };
    for (originals, patcheds) in group(original, patched, pairs, key).values() {
        let mut scored = Vec::new();
        for (at, &one) in originals.iter().enumerate() {
            for (nth, &other) in patcheds.iter().enumerate() {
                let common = users.common(one, other);
                let size = original[one].size == patched[other].size;
                scored.push((common, !size, at.abs_diff(nth), one, other));
            }
        }
        scored.sort();
        for (common, _, _, one, other) in scored {
            if !pairs.is_free(one, other) {
                continue;
            }
            match common {
                Common::None => drop(pairs.doubtful.entry(other).or_insert(one)),
                _ => pairs.pair(one, other),
            }
        }
    }
    let Correlation {
        doubtful,
        to_original,
        ..
    } = pairs;
    doubtful.retain(|other, _| !to_original.contains_key(other));
}

/// What refers to each block of two objects.
struct Users {
    original: BTreeMap<BlockId, BTreeSet<String>>,
    patched: BTreeMap<BlockId, BTreeSet<String>>,
}

/// Which of those that refer to two blocks are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Common {
    All,
    /// At least one, or one that was split from it, or has taken it in.
    Some,
    None,
}

impl Users {
    fn common(&self, one: BlockId, other: BlockId) -> Common {
        let none = BTreeSet::new();
        let before = self.original.get(&one).unwrap_or(&none);
        let after = self.patched.get(&other).unwrap_or(&none);
        if before == after {
            return Common::All;
        }
        let origins: BTreeSet<&str> = before.iter().map(|user| names::origin(user)).collect();
        match after
            .iter()
            .any(|user| origins.contains(names::origin(user)))
        {
            true => Common::Some,
            false => Common::None,
        }
    }
}

/// Returns what refers to each block, by the names without numbers of functions and data. What a
/// private block refers to, its users do.
fn users(object: &Object<'_>) -> BTreeMap<BlockId, BTreeSet<String>> {
    let referrers = object.referrers(|from, to| object[from].kind != Kind::Entry && from != to);
    let named = referrers.keys().filter(|&&block| !object[block].private);
    let users = named.map(|&block| {
        let names = object.users(&referrers, block).into_iter();
        let names = names.map(|user| names::stable(object.name(user)));
        (block, names.collect())
    });
    users.collect()
}
