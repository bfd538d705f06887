// SPDX-License-Identifier: GPL-2.0

//! System states: changes that patches made to the system beyond the code.
//!
//! A patch lists the states that it modifies, each with a version. A new patch must not have a
//! lower version of a state than an installed patch. A cumulative patch (atomic replace) must list
//! every state of the installed patches.
//!
//! C counterpart: `kernel/livepatch/state.c`.

/// One system state that a patch modifies (`struct klp_state`, without its data).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemState {
    /// Identifier. It is not zero.
    pub id: usize,
    /// Version of the change.
    pub version: u32,
}

/// Whether a patch that lists `new` can be installed beside a patch that lists `installed`.
///
/// `replace` says whether the new patch is cumulative.
pub fn is_compatible(new: &[SystemState], replace: bool, installed: &[SystemState]) -> bool {
    installed
        .iter()
        .all(|old| match new.iter().find(|state| state.id == old.id) {
            Some(state) => state.version >= old.version,
            None => !replace,
        })
}

/// Returns the state of the newest of `patches` before `transition` that has one.
///
/// `patches` yields, oldest first, each installed patch and its state under the wanted identifier.
/// Returns `None` if no earlier patch has that state.
///
/// C counterpart: `klp_get_prev_state()`.
pub fn previous<P: PartialEq, S>(
    patches: impl Iterator<Item = (P, Option<S>)>,
    transition: P,
) -> Option<S> {
    patches
        .take_while(|(patch, _)| *patch != transition)
        .filter_map(|(_, state)| state)
        .last()
}
