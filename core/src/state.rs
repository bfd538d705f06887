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

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_state)]
mod tests {
    use super::*;

    const fn state(id: usize, version: u32) -> SystemState {
        SystemState { id, version }
    }

    #[test]
    fn a_version_must_not_go_down() {
        for replace in [false, true] {
            for (new, old, compatible) in [(1, 2, false), (2, 2, true), (3, 2, true)] {
                let result = is_compatible(&[state(1, new)], replace, &[state(1, old)]);
                assert_eq!(result, compatible);
            }
        }
    }

    #[test]
    fn a_cumulative_patch_lists_all_states() {
        let installed = [state(1, 1), state(2, 1)];
        assert!(is_compatible(&[state(2, 1), state(1, 1)], true, &installed));
        for missing in [&[][..], &[state(1, 1)], &[state(2, 1), state(3, 1)]] {
            assert!(!is_compatible(missing, true, &installed));
            assert!(is_compatible(missing, false, &installed));
        }
    }

    #[test]
    fn every_installed_state_counts() {
        let new = [state(1, 5), state(2, 5)];
        for (installed, compatible) in [
            ([state(1, 5), state(2, 5)], true),
            ([state(1, 6), state(2, 5)], false),
            ([state(1, 5), state(2, 6)], false),
        ] {
            assert_eq!(is_compatible(&new, true, &installed), compatible);
            assert_eq!(is_compatible(&new, false, &installed), compatible);
        }
    }

    #[test]
    fn the_first_state_under_an_identifier_counts() {
        let new = [state(1, 1), state(1, 3)];
        assert!(!is_compatible(&new, false, &[state(1, 2)]));
        assert!(is_compatible(&new, false, &[state(1, 1)]));
    }

    #[test]
    fn without_installed_states_all_is_compatible() {
        for replace in [false, true] {
            assert!(is_compatible(&[], replace, &[]));
            assert!(is_compatible(&[state(1, 0)], replace, &[]));
        }
    }

    #[test]
    fn the_previous_state_is_the_newest_before_the_transition() {
        let patches = [('a', Some(1)), ('b', None), ('c', Some(3)), ('d', Some(4))];
        for (transition, expected) in [
            ('a', None),
            ('b', Some(1)),
            ('c', Some(1)),
            ('d', Some(3)),
            // A patch that is not installed yet comes after all of them.
            ('e', Some(4)),
        ] {
            assert_eq!(previous(patches.into_iter(), transition), expected);
        }
    }
}
