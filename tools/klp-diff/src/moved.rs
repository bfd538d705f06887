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
        let (diff, environment) = (part.diff, part.environment);
        let patched = &diff.patched;
        let new = |id| diff.pairs.original(id).is_none();
        for &id in diff.selection.included.iter().filter(|&&id| new(id)) {
            for symbol in patched[id]
                .symbols
                .iter()
                .filter(|symbol| symbol.is_global())
            {
                let in_image = environment
                    .image
                    .is_some_and(|image| image.defines_global(symbol.name));
                let elsewhere = || {
                    let others = parts.iter().filter(|other| {
                        other.environment.module == environment.module
                            && !std::ptr::eq(other.diff, diff)
                    });
                    others
                        .into_iter()
                        .any(|other| other.diff.original.defines_global(symbol.name))
                };
                if in_image || elsewhere() {
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
}
