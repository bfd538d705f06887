// SPDX-License-Identifier: GPL-2.0

//! Site: the lock-free cell of a patched function, by which the ftrace handler finds the version that
//! a call gets.
//!
//! It shows the newest version and the newest that is not in transition below it: more is never
//! needed, since only one patch is in transition at a time.
//!
//! C counterpart: what `klp_ftrace_handler()` reads in `kernel/livepatch/patch.c`.

use super::transition::State;
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
    /// On into the original function.
    Original,
    /// To the replacement at this address.
    Replacement(usize),
}

impl Target {
    /// No code is at address 0, so that it can stand for the original.
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
    /// Tasks are moving between two versions: each task's state decides.
    InTransition {
        /// The newest version.
        newest: Target,
        /// The one below it.
        below: Target,
    },
}

impl View {
    /// The version for a task in `state`, which is only asked for during a transition.
    #[inline(always)]
    pub fn choose(self, state: impl FnOnce() -> State) -> Target {
        match self {
            Self::Settled(target) => target,
            Self::InTransition { newest, below } => match state() {
                State::Unpatched => below,
                State::Patched => newest,
                State::Idle => {
                    // Every task has a state before a site shows a transition, and keeps it until
                    // all CPUs have seen the end of it.
                    warn_on_once!(true);
                    newest
                }
            },
        }
    }
}

/// One of the two slots for a transition. Each field is its own atomic, the whole is made consistent
/// by the word of the [`Site`].
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

/// Words from here on are addresses: no code is in the first page. Below it, 0 is the original, and
/// the others number transitions.
const FIRST_ADDRESS: usize = 4096;

/// The number after `number`: of the other parity, and never 0.
const fn next(number: usize) -> usize {
    if number < FIRST_ADDRESS - 2 {
        number + 1
    } else {
        1
    }
}

// All the way round, each number is of the other parity than the one before, and below the addresses.
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
/// Nearly always a function is settled, and then one word says all: where calls go. During a
/// transition the word is a number instead, whose lowest bit says which of two slots has the two
/// versions. The writer fills the slot that the word does not name and then changes the word, so a
/// reader is never kept waiting by a writer that it interrupted (the handler runs in any context, NMI
/// included).
///
/// # Memory ordering
///
/// Within the site, with the word `w` and the slots `c0` and `c1`:
///
/// - The writer stores the slot that its number names, stores `w` with *release*, *write barrier*.
/// - The reader loads `w` with *acquire*. If it is a number, it loads the slot that it names, *read
///   barrier*, loads `w` again, and starts over if that changed.
///
/// The release and the acquire make the slot that `w` names complete. A slot is stored anew only by
/// the next but one transition shown, and at least one store of `w` and its write barrier lie in
/// between. So a reader that meets such a store in its slot sees, behind its read barrier, that `w`
/// has changed. It would not if the numbers had gone once around in between; but a publisher waits
/// for all handlers ([`Tasks::synchronize`](super::transition::Tasks::synchronize)) far more often.
///
/// Towards the tasks:
///
/// - The acquire also orders the word before the load of the task's state. The transition gives every
///   task its state, then a write barrier, and only then shows itself; so a call that sees a
///   transition sees a state. See `transition.rs`, which argues the other end.
pub struct Site {
    word: Atomic<usize>,
    /// The last number that was shown; the writer's own.
    number: Atomic<usize>,
    slots: [Slot; 2],
}

impl Site {
    /// A site that shows `view`.
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

    /// What the site shows now. Never blocks; safe in any context.
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

    /// Shows `view` from now on. The caller holds the core's lock: there is one writer.
    ///
    /// Who sees a later store of the caller, and reads the site after a read barrier, sees `view`.
    pub fn publish(&self, view: View) {
        let word = match view {
            View::Settled(Target::Replacement(address)) if address < FIRST_ADDRESS => {
                // It could not be told from a number.
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
        // Before the slot that is stored next, and before what the caller stores next.
        smp_mb(Write);
    }

    /// The version that a call gets, for a task whose state `state` tells. The ftrace handler's
    /// question; preemption is off.
    #[inline(always)]
    pub fn choose(&self, state: impl FnOnce() -> State) -> Target {
        self.view().choose(state)
    }
}
