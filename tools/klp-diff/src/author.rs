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

/// The section of the states that the patch changes: `struct klp_state` each.
pub const STATES: &str = ".discard.klp_states";
/// The section of an `int` that says whether the patch replaces all others.
pub const REPLACE: &str = ".discard.klp_replace";

/// The symbol that an initialisation defines which reads the tables of states and about replacing.
pub const READS_WISHES: &str = "klp_init_reads_wishes";

/// The source of that initialisation, which is linked into the module.
pub const INIT: &str = include_str!("../module/init.c");
/// The headers with the macros, by their names.
pub const HEADERS: [(&str, &str); 2] = [
    (
        "livepatch-author.h",
        include_str!("../include/livepatch-author.h"),
    ),
    (
        "kpatch-macros.h",
        include_str!("../include/kpatch-macros.h"),
    ),
];

/// What contradicts itself in the callbacks, in one object or in all objects of a patch.
pub const TWO_CALLBACKS: &str = "two callbacks of one kind for one object";
/// What contradicts itself about replacing.
pub const BOTH_WAYS: &str = "it is to replace all other live patches, and not to";

/// What the author wants.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Blocks whose changes do not count.
    pub ignored: BTreeSet<BlockId>,
    /// The functions to call, in the order of the members of `struct klp_callbacks`.
    pub callbacks: [Option<BlockId>; 4],
    /// The system states that the patch changes: their numbers, and the versions.
    pub states: Vec<(u64, u32)>,
    /// Whether the patch replaces all others, if the author says it.
    pub replace: Option<bool>,
    /// What contradicts itself: the section that says it, and what it says.
    pub contradictions: Vec<(&'static str, String)>,
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
    for (at, (section, prefix)) in CALLBACKS.iter().enumerate() {
        let pointers = patched.ids().filter(|&id| {
            patched.section(id).name == POINTERS && patched.name(id).starts_with(prefix)
        });
        let pointers = pointers.flat_map(|id| &patched[id].references);
        let mut all: Vec<_> = targets(patched, section).map(|(id, _)| id).collect();
        all.extend(pointers.filter_map(|reference| match reference.target {
            Target::Block(to, _) => Some(to),
            _ => None,
        }));
        if all.len() > 1 {
            let what = TWO_CALLBACKS.to_owned();
            wishes.contradictions.push((section, what));
        }
        if let (Some(callback), Some(&id)) = (wishes.callbacks.get_mut(at), all.first()) {
            *callback = Some(id);
        }
    }
    states(patched, &mut wishes);
    let said = contents(patched, REPLACE).map(|bytes| bytes.iter().any(|&byte| byte != 0));
    for replace in said {
        if wishes.replace.is_some_and(|before| before != replace) {
            wishes.contradictions.push((REPLACE, BOTH_WAYS.to_owned()));
        }
        wishes.replace = Some(replace);
    }
    wishes
}

/// Reads the states.
fn states(patched: &Object<'_>, wishes: &mut Wishes) {
    let big = patched.arch.big_endian();
    for bytes in contents(patched, STATES) {
        for state in bytes.chunks(24) {
            let version = state.get(8..).and_then(|rest| rest.first_chunk::<4>());
            let (Some(id), Some(version)) = (state.first_chunk::<8>(), version) else {
                let what = "a state that is cut off".to_owned();
                wishes.contradictions.push((STATES, what));
                continue;
            };
            let (id, version) = match big {
                true => (u64::from_be_bytes(*id), u32::from_be_bytes(*version)),
                false => (u64::from_le_bytes(*id), u32::from_le_bytes(*version)),
            };
            // Livepatch's list of states ends at the number 0.
            if id == 0 {
                let what = "a state with the number 0".to_owned();
                wishes.contradictions.push((STATES, what));
            }
            wishes.states.push((id, version));
        }
    }
}

/// Returns the bytes of what is in a section.
fn contents<'a>(object: &'a Object<'_>, section: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let blocks = object
        .ids()
        .filter(move |&id| object.section(id).name == section);
    blocks.map(|id| object[id].bytes)
}

/// Whether a section holds wishes.
pub fn is_wish(section: &str) -> bool {
    section.starts_with(".kpatch.") || [POINTERS, STATES, REPLACE].contains(&section)
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
