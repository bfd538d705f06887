// SPDX-License-Identifier: GPL-2.0
//! Finds symbols that are new in one object of a patch, but not in the kernel.
//!
//! A function that moves from one file to another, or that overrides a weak one, is new where it is
//! now. The kernel's callers keep the other one, so that the module would change nothing for them.

use crate::error::{Reason, Refusal};
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
            for symbol in globals.filter(|symbol| stays(parts, part, symbol.name)) {
                module.refusals.insert(Refusal {
                    file: patched.source.to_owned(),
                    section: patched.section(id).name.to_owned(),
                    symbol: symbol.name.to_owned(),
                    change: None,
                    reason: Reason::Moved,
                });
            }
        }
    }
}

/// Whether the kernel or module that a pair is of has a global symbol of this name already, as far as
/// the image and the other pairs tell.
fn stays(parts: &[Part<'_, '_>], part: &Part<'_, '_>, name: &str) -> bool {
    let environment = part.environment;
    let image = environment.image;
    let mut others = parts.iter().filter(|other| {
        let same = other.environment.module == environment.module;
        same && !std::ptr::eq(other.diff, part.diff)
    });
    image.is_some_and(|image| image.defines_global(name))
        || others.any(|other| other.diff.original.defines_global(name))
}
