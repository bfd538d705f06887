// SPDX-License-Identifier: GPL-2.0

//! Site: the lock-free cell of a patched function, where the ftrace handler finds the version that
//! a call gets.
//!
//! The site shows the newest version and, below it, the newest version that is not in transition.
//! More is never needed, since only one patch is in transition at a time.
//!
//! C counterpart: what `klp_ftrace_handler()` reads in `kernel/livepatch/patch.c`.

use super::task::State;
use kernel::sync::{
    atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    barrier::{
        smp_mb,
        Read,
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

impl View {
    /// Returns the version for a task. `state` is called only during a transition.
    #[inline(always)]
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

/// One of the two slots for a transition. Each field is an atomic of its own. The word of the
/// [`Site`] makes the two consistent.
struct Slot {
    newest: Atomic<usize>,
    below: Atomic<usize>,
}

impl Slot {
    fn new() -> Self {
        Self {
            newest: Atomic::new(Target::Original.encode()),
            below: Atomic::new(Target::Original.encode()),
        }
    }
}

/// The least word that is an address: no code is in the first page. Of the words below, 0 is the
/// original and the others are numbers of transitions.
const FIRST_ADDRESS: usize = 4096;

/// Returns the number after `number`. It has the other parity and is never 0.
const fn next(number: usize) -> usize {
    if number < FIRST_ADDRESS - 2 {
        number + 1
    } else {
        1
    }
}

// In the whole cycle, each number has the other parity than the number before, and is below the
// addresses.
const _: () = {
    let mut number = 1;
    while next(number) != 1 {
        assert!(next(number) % 2 != number % 2 && next(number) < FIRST_ADDRESS);
        number = next(number);
    }
    assert!(number % 2 == 0 && number == FIRST_ADDRESS - 2);
};

/// The lock-free cell of a patched function: read by every call, written under the core's lock.
///
/// Nearly always a function is settled, and one word says where its calls go. During a transition
/// the word is a number instead. Its lowest bit names the one of two slots that has the two
/// versions. The writer fills the slot that the word does not name and then changes the word. So a
/// reader never waits for a writer that it interrupted: the handler runs in any context, including
/// NMI.
///
/// # Memory ordering
///
/// Within the site, with the word `w` and the slots `c0` and `c1`:
///
/// - The writer stores the slot that its number names, stores `w` with *release*, and issues a
///   *write barrier*.
/// - The reader loads `w` with *acquire*. If `w` is a number, the reader loads the slot that it
///   names, issues a *read barrier* and loads `w` again. If `w` has changed, it starts over.
///
/// The release and the acquire make the slot that `w` names complete. A slot is reused only by the
/// next but one transition shown, and at least one store of `w` and its write barrier lie in
/// between. So a reader that sees a value of the reuse in its slot also sees, after its read
/// barrier, that `w` has changed. The reader would miss the change only if the numbers had gone
/// through a whole cycle in between. But the publisher waits for all handlers far more often than
/// that ([`Scheduler::synchronize`](super::transition::Scheduler::synchronize)).
///
/// Towards the tasks:
///
/// - The acquire also orders the load of the word before the load of the task's state. The
///   transition gives every task its state, issues a write barrier, and only then shows itself. So
///   a call that sees a transition sees a state. `transition.rs` argues the writer's side.
pub struct Site {
    word: Atomic<usize>,
    /// The last number that was shown. Only the writer uses it.
    number: Atomic<usize>,
    slots: [Slot; 2],
}

impl Site {
    /// Creates a site that shows `view`.
    pub fn new(view: View) -> Self {
        let site = Self {
            word: Atomic::new(Target::Original.encode()),
            number: Atomic::new(0),
            slots: [Slot::new(), Slot::new()],
        };
        site.publish(view);
        site
    }

    #[inline(always)]
    fn slot(&self, number: usize) -> &Slot {
        let [even, odd] = &self.slots;
        if number & 1 == 0 {
            even
        } else {
            odd
        }
    }

    /// Returns what the site shows now. Never blocks; safe in any context.
    #[inline(always)]
    pub fn view(&self) -> View {
        loop {
            let word = self.word.load(Acquire);
            if word == 0 || word >= FIRST_ADDRESS {
                return View::Settled(Target::decode(word));
            }
            let slot = self.slot(word);
            let newest = Target::decode(slot.newest.load(Relaxed));
            let below = Target::decode(slot.below.load(Relaxed));
            smp_mb(Read);
            if self.word.load(Relaxed) == word {
                return View::InTransition { newest, below };
            }
        }
    }

    /// Shows `view` from now on. The caller holds the core's lock, so there is one writer.
    ///
    /// A reader that sees a later store of the caller, and reads the site after a read barrier,
    /// sees `view`.
    pub fn publish(&self, view: View) {
        let word = match view {
            View::Settled(Target::Replacement(address)) if address < FIRST_ADDRESS => {
                // The handler would take the address for a number.
                warn_on_once!(true);
                return;
            }
            View::Settled(target) => target.encode(),
            View::InTransition { newest, below } => {
                let number = next(self.number.load(Relaxed));
                self.number.store(number, Relaxed);
                let slot = self.slot(number);
                slot.newest.store(newest.encode(), Relaxed);
                slot.below.store(below.encode(), Relaxed);
                number
            }
        };
        self.word.store(word, Release);
        // Order the word before the next store to a slot, and before the caller's later stores.
        smp_mb(Write);
    }

    /// Returns the version that a call gets from a task in the state that `state` returns. The
    /// ftrace handler calls this with preemption off.
    #[inline(always)]
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
            // Goes around both slots more than once.
            for next in views() {
                site.publish(next);
                assert_eq!(site.view(), next);
                assert_eq!(site.view(), next);
            }
        }
    }

    #[test]
    fn a_site_goes_round() {
        let site = Site::new(View::Settled(Original));
        for n in 0..3 * FIRST_ADDRESS {
            let view = View::InTransition {
                newest: Replacement(FIRST_ADDRESS + n),
                below: Replacement(FIRST_ADDRESS + n + 1),
            };
            site.publish(view);
            assert_eq!(site.view(), view);
        }
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
