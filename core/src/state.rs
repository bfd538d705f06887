// SPDX-License-Identifier: GPL-2.0

//! System states: what patches changed about the system beyond the code.
//!
//! A patch lists the states that it modifies, each with a version. A new patch has to cope with what
//! is installed; a cumulative one (atomic replace) has to know every state that is.
//!
//! C counterpart: `kernel/livepatch/state.c`.

/// One system state that a patch modifies (`struct klp_state`, without its data).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemState {
    /// Identifier, not zero.
    pub id: usize,
    /// Version of the change.
    pub version: u32,
}

/// Whether a patch that lists `new` can be installed beside one that lists `installed`.
///
/// `replace`: the new patch is cumulative.
pub fn is_compatible(new: &[SystemState], replace: bool, installed: &[SystemState]) -> bool {
    installed
        .iter()
        .all(|old| match new.iter().find(|state| state.id == old.id) {
            Some(state) => state.version >= old.version,
            None => !replace,
        })
}

/// The state `id` of the newest of `patches` before `transition` that has it.
///
/// `patches` yields, oldest first, each installed patch and the state that it has under the
/// identifier in question. `None` where no earlier patch has it.
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
