// SPDX-License-Identifier: GPL-2.0

//! Site: the lock-free cell of a patched function, where the ftrace handler finds the version that
//! a call gets.
//!
//! The site shows the newest version and, below it, the newest version that is not in transition.
//! More is never needed, since only one patch is in transition at a time.
//!
//! C counterpart: what `klp_ftrace_handler()` reads in `kernel/livepatch/patch.c`.

use super::task::State;
use core::mem::offset_of;
use kernel::sync::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    barrier::{
        smp_mb,
        Write, //
    },
};

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The call goes on into the original function.
    Original,
    /// The call goes to the replacement at this address.
    Replacement(usize),
}

impl Target {
    /// Encodes the target as one word. No code is at address 0, so 0 can stand for the original.
    const fn encode(self) -> usize {
        match self {
            Self::Original => 0,
            Self::Replacement(address) => address,
        }
    }

    const fn decode(word: usize) -> Self {
        match word {
            0 => Self::Original,
            address => Self::Replacement(address),
        }
    }
}

/// The least word that is an address: no code is in the first page.
const FIRST_ADDRESS: usize = 4096;

/// The word of a site in transition. The handler tests for 0 with an instruction less than for
/// other words.
const IN_TRANSITION: usize = 0;

/// The word of a site that is settled at the original. It is below the addresses.
const ORIGINAL: usize = 1;

/// What a [`Site`] shows at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Every call gets this version.
    Settled(Target),
    /// Tasks are moving between two versions. Each task's state decides which one its calls get.
    InTransition {
        /// The newest version.
        newest: Target,
        /// The one below it.
        below: Target,
    },
}

// The handler chooses in C.
#[cfg_attr(CONFIG_LIVEPATCH, allow(dead_code))]
impl View {
    /// Decodes the words of a [`Site`].
    const fn decode(word: usize, newest: usize, below: usize) -> Self {
        match word {
            IN_TRANSITION => Self::InTransition {
                newest: Target::decode(newest),
                below: Target::decode(below),
            },
            ORIGINAL => Self::Settled(Target::Original),
            address => Self::Settled(Target::Replacement(address)),
        }
    }

    /// Returns the version for a task. `state` is called only during a transition.
    pub fn choose(self, state: impl FnOnce() -> State) -> Target {
        match self {
            Self::Settled(target) => target,
            Self::InTransition { newest, below } => match state() {
                State::Unpatched => below,
                State::Patched => newest,
                State::Idle => {
                    // Every task gets a state before a site shows a transition, and keeps it until
                    // all CPUs have seen the end of the transition.
                    warn_on_once!(true);
                    newest
                }
            },
        }
    }
}

/// The lock-free cell of a patched function: read by every call, written under the core's lock.
///
/// Nearly always a function is settled, and one word says where its calls go. During a transition
/// the word says so (`IN_TRANSITION`), and two other words have the two versions. A call uses only
/// one of the two, by its task's state, so it does not need both as they are at one moment. The
/// reader loads each word once. It never waits for a writer that it interrupted: the handler runs
/// in any context, including NMI.
///
/// In the kernel, the handler does in C (`livepatch.c`) what [`Self::choose`] does.
///
/// # Memory ordering
///
/// Within the site:
///
/// - The writer stores the two versions, stores the word with *release*, and issues a *write
///   barrier*. To show that the function is settled, it stores only the word.
/// - The reader loads the word with *acquire*, and then the two versions and the task's state.
///
/// The release and the acquire make a reader that sees a transition see the versions that were
/// shown with it, or later ones. Later ones belong to the same transition, and are right too:
///
/// - *Within a transition* the versions may change: when an older patch leaves the function, or for
///   each name in turn if the patch changes the function under two names. The task's state stays
///   the same during a call, unless the transition is forced. So what the reader uses is what the
///   site shows for its task at some moment of the call.
/// - *Between two transitions* the publisher waits for all handlers
///   ([`Scheduler::synchronize`](super::transition::Scheduler::synchronize)): after the site has
///   been settled, and before the versions of the second transition are stored. So a reader that
///   saw the first transition has finished by then. A reader that begins later sees that the site
///   is settled, or the second transition.
///
/// A site comes to show a transition in three ways:
///
/// - *A patch is enabled (`Redirections::push`), or begins to be disabled (`Selected::begin`).* The
///   wait is in `Selected::complete`. Every transition ends there, also one that was cancelled,
///   reversed or forced.
/// - *A module comes during the transition (`Redirections::push`).* The site is new. The site that
///   the module had before was freed after a wait, in `change_check` or `Core::unpatch_module`.
/// - *Its versions change during the transition (`Redirections::remove`, and `set_transition` for
///   one name of two).* The site shows this transition already. It would not if a newer patch's
///   version were above those of the patch in transition: then the site is settled. But the newer
///   version does not go before they do. A module loses its patches oldest first. Otherwise only
///   the end of the transition removes versions: those of its patch and of older ones.
///
/// Towards the tasks:
///
/// - The acquire also orders the load of the word before the load of the task's state. The
///   transition gives every task its state, issues a write barrier, and only then shows itself. So
///   a call that sees a transition sees a state. `transition.rs` argues the writer's side.
/// - The write barrier orders the word before the caller's later stores, such as the pending flags.
#[repr(C)]
pub struct Site {
    word: Atomic<usize>,
    newest: Atomic<usize>,
    below: Atomic<usize>,
}

impl Site {
    /// The word of a site in transition.
    pub const IN_TRANSITION: usize = IN_TRANSITION;

    /// The word of a site that is settled at the original.
    pub const ORIGINAL: usize = ORIGINAL;

    /// The offsets of the word, of the newest version and of the one below.
    pub const OFFSETS: [usize; 3] = [
        offset_of!(Self, word),
        offset_of!(Self, newest),
        offset_of!(Self, below),
    ];

    /// Creates a site that shows `view`.
    pub fn new(view: View) -> Self {
        let original = Target::Original.encode();
        let site = Self {
            word: Atomic::new(ORIGINAL),
            newest: Atomic::new(original),
            below: Atomic::new(original),
        };
        site.publish(view);
        site
    }

    /// Shows `view` from now on. The caller holds the core's lock, so there is one writer.
    ///
    /// A reader that sees a later store of the caller, and reads the site after a read barrier,
    /// sees `view`.
    pub fn publish(&self, view: View) {
        let word = match view {
            View::Settled(Target::Replacement(address)) if address < FIRST_ADDRESS => {
                // The handler would not take it for an address.
                warn_on_once!(true);
                return;
            }
            View::Settled(Target::Replacement(address)) => address,
            View::Settled(Target::Original) => ORIGINAL,
            View::InTransition { newest, below } => {
                self.newest.store(newest.encode(), Relaxed);
                self.below.store(below.encode(), Relaxed);
                IN_TRANSITION
            }
        };
        // Release: pairs with the acquire in `view` and in `livepatch_dispatch()`. The versions are
        // there before the word sends a reader to them.
        self.word.store(word, Release);
        // Order the word before the caller's later stores.
        smp_mb(Write);
    }
}

// The handler does this in C.
#[cfg_attr(CONFIG_LIVEPATCH, allow(dead_code))]
impl Site {
    /// Returns what the site shows now. Never blocks; safe in any context.
    ///
    /// Of a transition the two versions may be from different moments.
    pub fn view(&self) -> View {
        let word = self.word.load(Acquire);
        View::decode(word, self.newest.load(Relaxed), self.below.load(Relaxed))
    }

    /// Returns the version that a call gets from a task in the state that `state` returns. The
    /// caller has preemption off.
    pub fn choose(&self, state: impl FnOnce() -> State) -> Target {
        self.view().choose(state)
    }
}

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_site)]
mod tests {
    use super::{
        Target::{
            Original,
            Replacement, //
        },
        *, //
    };

    /// The first replacement in these tests.
    const FIRST: Target = Replacement(FIRST_ADDRESS);

    /// All targets in these tests.
    const TARGETS: [Target; 4] = [
        Original,
        FIRST,
        Replacement(FIRST_ADDRESS + 1),
        Replacement(usize::MAX),
    ];

    fn settled() -> impl Iterator<Item = View> {
        TARGETS.into_iter().map(View::Settled)
    }

    /// Returns the views of a transition, each with its newest target and the one below.
    fn in_transition() -> impl Iterator<Item = (View, Target, Target)> {
        TARGETS.into_iter().flat_map(|newest| {
            let below = TARGETS.into_iter();
            below.map(move |below| (View::InTransition { newest, below }, newest, below))
        })
    }

    fn views() -> impl Iterator<Item = View> {
        settled().chain(in_transition().map(|(view, _, _)| view))
    }

    #[test]
    fn a_site_shows_what_was_published_last() {
        for first in views() {
            let site = Site::new(first);
            assert_eq!(site.view(), first);
            for next in views() {
                site.publish(next);
                assert_eq!(site.view(), next);
                assert_eq!(site.view(), next);
            }
        }
    }

    #[test]
    fn the_words_of_a_site_follow_each_other() {
        let word = size_of::<usize>();
        assert_eq!(Site::OFFSETS, [0, word, 2 * word]);
        assert_eq!(size_of::<Site>(), 3 * word);
    }

    #[test]
    fn settled_sites_do_not_ask_for_the_state() {
        for target in TARGETS {
            let site = Site::new(View::Settled(target));
            let mut asked = false;
            let chosen = site.choose(|| {
                asked = true;
                State::Unpatched
            });
            assert_eq!(chosen, target);
            assert!(!asked);
        }
    }

    #[test]
    fn sites_in_transition_go_by_the_state() {
        for (view, newest, below) in in_transition() {
            let site = Site::new(view);
            assert_eq!(site.choose(|| State::Unpatched), below);
            assert_eq!(site.choose(|| State::Patched), newest);
        }
    }
}
