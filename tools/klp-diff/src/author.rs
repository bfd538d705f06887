// SPDX-License-Identifier: GPL-2.0
//! What the author of a patch says to the engine with macros inside the patch.
//!
//! The macros leave sections in the patched object. Their names are those of kpatch, so that patches
//! written for it mean the same here.

use crate::graph::{BlockId, Object, Target};
use std::collections::BTreeSet;

/// Functions that are to stay as they are.
const FUNCTIONS: &str = ".kpatch.ignore.functions";
/// Names of sections that are to stay as they are.
const SECTIONS: &str = ".kpatch.ignore.sections";
/// The callbacks, in the order of the members of `struct klp_callbacks`: the section that kpatch's
/// macros use, and how names begin that those of `livepatch_helpers.h` make.
const CALLBACKS: [(&str, &str); 4] = [
    (".kpatch.callbacks.pre_patch", "__klp_pre_patch_callback_"),
    (".kpatch.callbacks.post_patch", "__klp_post_patch_callback_"),
    (
        ".kpatch.callbacks.pre_unpatch",
        "__klp_pre_unpatch_callback_",
    ),
    (
        ".kpatch.callbacks.post_unpatch",
        "__klp_post_unpatch_callback_",
    ),
];
/// The section of the pointers that `livepatch_helpers.h` makes.
const POINTERS: &str = ".discard.klp_callback_ptrs";

/// What the author wants.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Blocks whose changes do not count.
    pub ignored: BTreeSet<BlockId>,
    /// The functions to call, in the order of the members of `struct klp_callbacks`.
    pub callbacks: [Option<BlockId>; 4],
}

/// Reads the wishes in a patched object.
pub fn wishes(patched: &Object<'_>) -> Wishes {
    let mut wishes = Wishes::default();
    for (target, offset) in targets(patched, FUNCTIONS) {
        if offset == patched[target].entry as i64 {
            wishes.ignored.insert(target);
        }
    }
    for (target, offset) in targets(patched, SECTIONS) {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|at| patched[target].bytes.get(at..));
        let name = bytes.and_then(|bytes| bytes.split(|&byte| byte == 0).next());
        let is = |id: &BlockId| name == Some(patched.section(*id).name.as_bytes());
        wishes.ignored.extend(patched.ids().filter(is));
    }
    for ((section, prefix), callback) in CALLBACKS.iter().zip(&mut wishes.callbacks) {
        *callback = targets(patched, section).map(|(target, _)| target).next();
        let pointer = |id: &BlockId| {
            patched.section(*id).name == POINTERS && patched.name(*id).starts_with(prefix)
        };
        if let Some(id) = patched.ids().find(pointer) {
            *callback =
                patched[id]
                    .references
                    .iter()
                    .find_map(|reference| match reference.target {
                        Target::Block(to, _) => Some(to),
                        _ => None,
                    });
        }
    }
    wishes
}

/// Whether a section holds wishes.
pub fn is_wish(section: &str) -> bool {
    section.starts_with(".kpatch.") || section == POINTERS
}

fn targets<'a>(
    object: &'a Object<'_>,
    section: &'a str,
) -> impl Iterator<Item = (BlockId, i64)> + 'a {
    let blocks = object
        .ids()
        .filter(move |&id| object.section(id).name == section);
    let references = blocks.flat_map(|id| &object[id].references);
    references.filter_map(|reference| match reference.target {
        Target::Block(id, offset) => Some((id, offset)),
        _ => None,
    })
}
