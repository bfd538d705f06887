// SPDX-License-Identifier: GPL-2.0
//! Finds symbols that are new in one object of a patch, but not in the kernel.
//!
//! A function that moves from one file to another, or that overrides a weak one, is new where it is
//! now. The kernel's callers keep the other one, so that the module would change nothing for them. The
//! same holds for a second name of a function, which compilers make of two functions with the same code:
//! livepatch can't redirect one name and leave the other.

use crate::error::{Reason, Refusal};
use crate::graph::BlockId;
use crate::write::Module;
use crate::Part;

/// Refuses them.
pub fn check(parts: &[Part<'_, '_>], module: &mut Module<'_>) {
    for part in parts {
        let (diff, patched) = (part.diff, &part.diff.patched);
        let included = diff.selection.included.iter();
        for &id in included.filter(|&&id| diff.pairs.original(id).is_none()) {
            let globals = patched[id].symbols.iter();
            let globals = globals.filter(|symbol| symbol.is_global());
            for symbol in globals {
                let Some(reason) = stays(parts, part, symbol.name) else {
                    continue;
                };
                module.refusals.insert(Refusal {
                    file: patched.source.to_owned(),
                    section: patched.section(id).name.to_owned(),
                    symbol: symbol.name.to_owned(),
                    change: None,
                    reason,
                });
            }
        }
    }
}

/// Returns what is wrong with a new global symbol if the kernel or module that a pair is of has one of
/// this name already, as far as the image and all pairs tell.
fn stays(parts: &[Part<'_, '_>], part: &Part<'_, '_>, name: &str) -> Option<Reason> {
    let original = &part.diff.original;
    let named = |id: &BlockId| {
        let mut symbols = original[*id].symbols.iter();
        symbols.any(|symbol| symbol.is_global() && symbol.name == name)
    };
    if let Some(id) = original.ids().find(named) {
        return Some(Reason::Merged(original.name(id).to_owned()));
    }
    let environment = part.environment;
    let mut others = parts.iter().filter(|other| {
        let same = other.environment.module == environment.module;
        same && !std::ptr::eq(other.diff, part.diff)
    });
    let image = environment.image;
    let elsewhere = image.is_some_and(|image| image.defines_global(name))
        || others.any(|other| other.diff.original.defines_global(name));
    elsewhere.then_some(Reason::Moved)
}
