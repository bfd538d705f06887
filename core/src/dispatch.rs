// SPDX-License-Identifier: GPL-2.0

//! Dispatch: which version of a function a call gets.
//!
//! Each patched function has a [`Site`], a cell without locks which the ftrace handler reads, and a
//! stack of versions, which only the holder of the core's lock sees. The site shows the newest version
//! and the newest that is not in transition below it: more is never needed, since only one patch is in
//! transition at a time.
//!
//! C counterpart: `kernel/livepatch/patch.c`.

use crate::{
    stack::Range,
    symbol::Name,
    transition::State, //
};
use kernel::{
    prelude::*,
    sync::{
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
    }, //
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
pub struct View {
    /// The newest version.
    pub newest: Target,
    /// The one below it.
    pub below: Target,
    /// Whether tasks are still moving between the two: then each task's state decides.
    pub in_transition: bool,
}

impl View {
    /// The version for a task in `state`, which is only asked for during a transition.
    pub fn choose(self, state: impl FnOnce() -> State) -> Target {
        if !self.in_transition {
            return self.newest;
        }
        match state() {
            State::Unpatched => self.below,
            State::Patched => self.newest,
            State::Idle => {
                // Every task has a state before a site shows a transition, and keeps it until all
                // CPUs have seen the end of it.
                warn_on_once!(true);
                self.newest
            }
        }
    }
}

/// One of the two slots for a view. Each field is its own atomic, the whole is made consistent by
/// the sequence of the [`Site`].
struct Slot {
    newest: Atomic<usize>,
    below: Atomic<usize>,
    in_transition: Atomic<usize>,
}

impl Slot {
    fn new(view: View) -> Self {
        Self {
            newest: Atomic::new(view.newest.encode()),
            below: Atomic::new(view.below.encode()),
            in_transition: Atomic::new(usize::from(view.in_transition)),
        }
    }

    fn load(&self) -> View {
        View {
            newest: Target::decode(self.newest.load(Relaxed)),
            below: Target::decode(self.below.load(Relaxed)),
            in_transition: self.in_transition.load(Relaxed) != 0,
        }
    }

    fn store(&self, view: View) {
        self.newest.store(view.newest.encode(), Relaxed);
        self.below.store(view.below.encode(), Relaxed);
        self.in_transition
            .store(usize::from(view.in_transition), Relaxed);
    }
}

/// The lock-free cell of a patched function: read by every call, written under the core's lock.
///
/// A latch: two slots for the view and a sequence whose lowest bit says which of them a reader takes.
/// The writer changes the slot that readers are sent away from, so a reader is never kept waiting by
/// a writer that it interrupted (the handler runs in any context, NMI included).
///
/// # Memory ordering
///
/// Within the site, with the sequence `s` and the slots `c0` and `c1`:
///
/// - The writer stores `s` (odd), *write barrier*, stores `c0`, stores `s` (even) with *release*,
///   *write barrier*, stores `c1`.
/// - The reader loads `s` with *acquire*, loads the slot that it names, *read barrier*, loads `s`
///   again, and starts over if that changed.
///
/// The release and the acquire make the slot that `s` names complete. If a reader nevertheless meets
/// a store of the next change in it, the two barriers make it see that `s` moved on before that
/// store.
///
/// Towards the tasks:
///
/// - The read barrier also orders the view before the load of the task's state. The transition gives
///   every task its state, then a write barrier, and only then shows `in_transition`; so a call that
///   sees a transition sees a state. See `transition.rs`, which argues the other end.
pub struct Site {
    sequence: Atomic<usize>,
    slots: [Slot; 2],
}

impl Site {
    /// A site that shows `view`.
    pub fn new(view: View) -> Self {
        Self {
            sequence: Atomic::new(0),
            slots: [Slot::new(view), Slot::new(view)],
        }
    }

    /// What the site shows now. Never blocks; safe in any context.
    pub fn view(&self) -> View {
        let [even, odd] = &self.slots;
        loop {
            let before = self.sequence.load(Acquire);
            let slot = if before & 1 == 0 { even } else { odd };
            let view = slot.load();
            smp_mb(Read);
            if self.sequence.load(Relaxed) == before {
                return view;
            }
        }
    }

    /// Shows `view` from now on. The caller holds the core's lock: there is one writer.
    ///
    /// Who sees a later store of the caller, and reads the site after a read barrier, sees `view`.
    pub fn publish(&self, view: View) {
        let [even, odd] = &self.slots;
        let sequence = self.sequence.load(Relaxed);
        // Readers take the odd slot from here on; it still has the last view. Release: that view was
        // stored by the publish before, or by whoever made the site.
        self.sequence.store(sequence.wrapping_add(1), Release);
        smp_mb(Write);
        even.store(view);
        // And back to the even slot, which is complete.
        self.sequence.store(sequence.wrapping_add(2), Release);
        // Before the odd slot, and before what the caller stores next.
        smp_mb(Write);
        odd.store(view);
    }

    /// The version that a call gets, for a task whose state `state` tells. The ftrace handler's
    /// question; preemption is off.
    pub fn choose(&self, state: impl FnOnce() -> State) -> Target {
        self.view().choose(state)
    }
}

/// What the core asks of the tracer (ftrace): calls of a function, sent to where its site says.
pub trait Tracer {
    /// A function that is being traced for us: owns the [`Site`] that the handler reads.
    type Hook;

    /// Where in `function` the tracer can take over, `None` where it can't.
    fn location(&self, function: usize) -> Option<usize>;

    /// Makes a hook, not yet in effect. Errors: `ENOMEM`.
    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook>;

    /// The site that the hook's handler reads.
    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site;

    /// Adds the hook's location to what its handler is called for.
    fn set_filter(&self, hook: &Self::Hook) -> Result;

    /// Takes the location off again.
    fn clear_filter(&self, hook: &Self::Hook) -> Result;

    /// From here on, calls go through the handler, those of tasks on other CPUs too.
    fn register(&self, hook: &Self::Hook) -> Result;

    /// From here on they don't, and no handler is still running.
    fn unregister(&self, hook: &Self::Hook) -> Result;
}

/// One version of a patched function.
#[derive(Clone, Copy, Debug)]
pub struct Version<F> {
    /// Whose it is.
    pub function: F,
    /// Where it sends calls.
    pub target: Target,
    /// Its code. For a nop, that of the original.
    pub code: Range,
    /// Whether its patch is in transition.
    pub in_transition: bool,
}

/// A patched function: its hook and its versions, newest last.
struct Redirection<F, H> {
    function: usize,
    hook: H,
    versions: KVec<Version<F>>,
}

/// The view that a stack of versions, newest last, gives.
///
/// A patch may have two versions of one function, under two names. A task that has not moved is to
/// get neither.
fn view_of<F: Copy>(versions: &[Version<F>]) -> View {
    let mut downward = versions.iter().rev();
    let newest = downward.next();
    let below = downward.find(|version| !version.in_transition);
    View {
        newest: newest.map_or(Target::Original, |version| version.target),
        below: below.map_or(Target::Original, |version| version.target),
        in_transition: newest.is_some_and(|version| version.in_transition),
    }
}

/// All patched functions, sorted by address. Belongs to the core's lock.
pub struct Redirections<F, H>(KVec<Redirection<F, H>>);

impl<F: Copy + PartialEq, H> Redirections<F, H> {
    /// None yet.
    pub const fn new() -> Self {
        Self(KVec::new())
    }

    fn search(&self, function: usize) -> core::result::Result<usize, usize> {
        self.0
            .binary_search_by_key(&function, |redirection| redirection.function)
    }

    fn get(&self, function: usize) -> Option<&Redirection<F, H>> {
        self.0.get(self.search(function).ok()?)
    }

    fn get_mut(&mut self, function: usize) -> Option<&mut Redirection<F, H>> {
        let index = self.search(function).ok()?;
        self.0.get_mut(index)
    }

    /// Number of functions that are patched.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts `version` on top of the versions of `function`, hooking it if it is the first.
    ///
    /// `name` is for messages. Errors: `EINVAL` where the function can't be traced, `ENOMEM`, or the
    /// tracer's; nothing has changed then. C counterpart: `klp_patch_func()`.
    pub fn push<T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        function: usize,
        name: &Name,
        version: Version<F>,
    ) -> Result {
        match self.search(function) {
            Ok(index) => {
                let redirection = self.0.get_mut(index).ok_or(EINVAL)?;
                redirection.versions.push(version, GFP_KERNEL)?;
                let view = view_of(&redirection.versions);
                tracer.site(&redirection.hook).publish(view);
                Ok(())
            }
            Err(index) => self.hook(tracer, index, function, name, version),
        }
    }

    fn hook<T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        index: usize,
        function: usize,
        name: &Name,
        version: Version<F>,
    ) -> Result {
        let Some(location) = tracer.location(function) else {
            pr_err!("failed to find location for function '{}'\n", name);
            return Err(EINVAL);
        };
        // All memory first: once the tracer has the hook, nothing may fail.
        let mut versions = KVec::with_capacity(1, GFP_KERNEL)?;
        versions.push(version, GFP_KERNEL)?;
        self.0.reserve(1, GFP_KERNEL)?;
        let hook = tracer.new_hook(location, Site::new(view_of(&versions)))?;

        if let Err(error) = tracer.set_filter(&hook) {
            pr_err!(
                "failed to set ftrace filter for function '{}' ({})\n",
                name,
                error.to_errno()
            );
            return Err(error);
        }
        if let Err(error) = tracer.register(&hook) {
            pr_err!(
                "failed to register ftrace handler for function '{}' ({})\n",
                name,
                error.to_errno()
            );
            // The filter of a hook that is not in effect.
            let _ = tracer.clear_filter(&hook);
            return Err(error);
        }
        let redirection = Redirection {
            function,
            hook,
            versions,
        };
        if let Err(refused) = self.0.insert_within_capacity(index, redirection) {
            // Room was made above, and the index came from a search.
            warn_on_once!(true);
            core::mem::forget(refused);
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Takes the version of `owner` off `function`, unhooking it if it was the last.
    ///
    /// C counterpart: `klp_unpatch_func()`.
    pub fn remove<T: Tracer<Hook = H> + ?Sized>(&mut self, tracer: &T, function: usize, owner: F) {
        let Ok(index) = self.search(function) else {
            kernel::warn_on!(true);
            return;
        };
        let Some(redirection) = self.0.get_mut(index) else {
            return;
        };
        let is_owner = |version: &Version<F>| version.function == owner;
        if kernel::warn_on!(!redirection.versions.iter().any(is_owner)) {
            return;
        }
        if redirection.versions.len() > 1 {
            redirection.versions.retain(|version| !is_owner(version));
            let view = view_of(&redirection.versions);
            tracer.site(&redirection.hook).publish(view);
            return;
        }
        // The order matters: calls must stop coming before the hook forgets its function, and no
        // handler may be running when the site goes.
        if kernel::warn_on!(tracer.unregister(&redirection.hook).is_err()) {
            // The tracer still has the hook, so it must stay. The next version finds it here.
            redirection.versions.clear();
            let view = view_of(&redirection.versions);
            tracer.site(&redirection.hook).publish(view);
            return;
        }
        kernel::warn_on!(tracer.clear_filter(&redirection.hook).is_err());
        let _ = self.0.remove(index);
    }

    /// Says whether the patch of `owner`'s version of `function` is in transition.
    pub fn set_transition<T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        function: usize,
        owner: F,
        in_transition: bool,
    ) {
        let Some(redirection) = self.get_mut(function) else {
            return;
        };
        for version in redirection.versions.iter_mut() {
            if version.function == owner {
                version.in_transition = in_transition;
            }
        }
        let view = view_of(&redirection.versions);
        tracer.site(&redirection.hook).publish(view);
    }

    /// The code of the newest version of `function`. `None`: the original.
    pub fn newest(&self, function: usize) -> Option<Range> {
        Some(self.get(function)?.versions.last()?.code)
    }

    /// The code below `owner`'s version of `function`: what its patch replaces. `None`: the original.
    pub fn below(&self, function: usize, owner: F) -> Option<Range> {
        self.get(function)?
            .versions
            .iter()
            .rev()
            .skip_while(|version| version.function != owner)
            .nth(1)
            .map(|version| version.code)
    }
}

impl<F: Copy + PartialEq, H> Default for Redirections<F, H> {
    fn default() -> Self {
        Self::new()
    }
}
