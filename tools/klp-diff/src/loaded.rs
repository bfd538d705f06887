// SPDX-License-Identifier: GPL-2.0
//! Finds what one module uses of another that need not be loaded.
//!
//! A new function is in the live patch, whatever it belongs to, so that another module can call it.
//! What it refers to in its own module has an address only while that is loaded. The kernel keeps a
//! module as long as another one is there that uses an export of it. Nothing else does.

use crate::error::Reason;
use crate::graph::{BlockId, Target};
use crate::write::{Module, Owner, Pair, Write};
use std::collections::BTreeSet;

/// Refuses it.
pub fn check<'a>(pairs: &mut [Pair<'a, '_>], module: &mut Module<'a>) {
    let mut refused = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        for (&from, owners) in &pair.uses {
            for &owner in owners {
                let needed = needed(pairs, owner).into_iter();
                let mut absent = needed.filter(|&other| !is_there(pairs, pair, other));
                if let Some(other) = absent.next() {
                    refused.push((index, from, owner.1, other));
                }
            }
        }
    }
    for (index, from, name, other) in refused {
        if let Some(pair) = pairs.get_mut(index) {
            let reason = Reason::OtherModule(other.to_owned());
            Write { pair, module }.refuse(from, name, reason);
        }
    }
}

/// Returns the modules that have to be loaded before a new global symbol is used.
fn needed<'a>(pairs: &[Pair<'a, '_>], owner: Owner<'a>) -> BTreeSet<&'a str> {
    let (mut modules, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut todo: Vec<_> = defined(pairs, owner).collect();
    while let Some((index, id)) = todo.pop() {
        let Some(pair) = pairs.get(index).filter(|_| seen.insert((index, id))) else {
            continue;
        };
        if pair.waiting.contains(&id) {
            modules.extend(pair.environment.module);
        }
        let references = pair.diff.patched[id].references.iter();
        todo.extend(references.filter_map(|reference| match reference.target {
            Target::Block(to, _) => pair.placed(to).map(|_| (index, to)),
            _ => None,
        }));
        let uses = pair.uses.get(&id).into_iter().flatten();
        todo.extend(uses.flat_map(|&owner| defined(pairs, owner)));
    }
    modules
}

/// Returns the block that defines a new global symbol, with the index of its pair.
fn defined<'p>(
    pairs: &'p [Pair<'_, '_>],
    (module, name): Owner<'p>,
) -> impl Iterator<Item = (usize, BlockId)> + 'p {
    let all = pairs.iter().enumerate();
    let own = all.filter(move |(_, pair)| pair.environment.module == module);
    own.flat_map(move |(index, pair)| {
        let new = |id: &BlockId| pair.diff.pairs.original(*id).is_none();
        let named = move |id: &BlockId| {
            let mut symbols = pair.diff.patched[*id].symbols.iter();
            symbols.any(|symbol| symbol.is_global() && symbol.name == name)
        };
        let included = pair.diff.selection.included.iter().copied();
        let found = included.filter(new).filter(named);
        found.map(move |id| (index, id))
    })
}

/// Whether a module is loaded whenever the kernel object of a pair is, as far as the patch's own
/// files tell.
fn is_there(pairs: &[Pair<'_, '_>], pair: &Pair<'_, '_>, module: &str) -> bool {
    let own = pair.environment.module;
    let uses = |pair: &Pair<'_, '_>| {
        let Some(exports) = pair.environment.exports else {
            return false;
        };
        let blocks = pair.diff.original.blocks.iter();
        let mut references = blocks.flat_map(|block| &block.references);
        references.any(|reference| match reference.target {
            Target::External(name) => exports.exporter(name) == Some(module),
            _ => false,
        })
    };
    let mut same = pairs.iter().filter(|pair| pair.environment.module == own);
    own == Some(module) || own.is_some() && same.any(uses)
}
