// SPDX-License-Identifier: GPL-2.0

//! Dispatch: which version of a function a call gets.
//!
//! Each patched function has a [`Site`], a cell without locks which the ftrace handler reads, and a
//! stack of versions, which only the holder of the core's lock sees.
//!
//! C counterpart: `kernel/livepatch/patch.c`.

use super::{
    site::{
        Site,
        Target,
        View, //
    },
    sort::sort_by_key,
    stack::Range,
    symbol::Name, //
};
use kernel::prelude::*;

/// What a tracer refuses hooks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Adding their locations to what the handler is called for failed.
    Filter(Error),
    /// Calling the handler failed.
    Register(Error),
}

impl Refusal {
    /// Says so in the log, as the C core does for its one function.
    fn report(self, name: &Name) -> Error {
        let (what, error) = match self {
            Self::Filter(error) => ("set ftrace filter", error),
            Self::Register(error) => ("register ftrace handler", error),
        };
        pr_err!(
            "failed to {} for function '{}' ({})\n",
            what,
            name,
            error.to_errno()
        );
        error
    }
}

/// What the core asks of the tracer (ftrace): calls of a function, sent to where its site says.
///
/// There is one handler for all functions, which finds the hook by the location. It is called with
/// preemption off. Where it finds none, the original goes on: a location is never without meaning.
pub trait Tracer {
    /// A function that is being traced for us: owns the [`Site`] that the handler reads. Once
    /// [`Self::attach`] has been called for it, even if that failed, it is not dropped before
    /// [`Tasks::synchronize`](super::transition::Tasks::synchronize) has waited for the handlers.
    type Hook;

    /// Where the tracer can take over at the entry of the function at this address, `None` where it
    /// can't. Never in what follows a function, even where that has no symbol of its own.
    fn location(&self, function: usize) -> Option<usize>;

    /// Makes a hook, not yet in effect. Errors: `ENOMEM`.
    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook>;

    /// The site that the hook's handler reads.
    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site;

    /// From here on, calls go through the handler, those of tasks on other CPUs too, and whoever
    /// comes there sees the site as it is now, or later. All of the hooks, or none; no two of them
    /// have the same location.
    fn attach(&self, hooks: &[&Self::Hook]) -> Result<(), Refusal>;

    /// From here on they don't, but a handler may still be running. Can't fail: where the tracer
    /// can't be told at once, the handler goes on to be called, and finds nothing. Where memory is
    /// short nothing else happens either.
    fn detach(&self, hooks: &mut dyn Iterator<Item = &Self::Hook>);

    /// Sets whether calls of the hook's function may go straight to where its site sends every task.
    /// [`Self::settle`] and [`Self::unsettle`] act on it.
    fn set_settles(&self, hook: &Self::Hook, settles: bool);

    /// Lets all calls that may go straight to the replacement do so, as far as the tracer can: where it
    /// can't, or somebody else wants to see the calls, the handler goes on to be called. No call gets
    /// anything else because of it, at no moment.
    fn settle(&self);

    /// From here on, all calls that may not go straight to the replacement go through the handler again.
    /// Others may do so too, until the next [`Self::settle`]. Needs no memory. Errors: the tracer has
    /// broken down, and nothing has changed.
    fn unsettle(&self) -> Result;

    /// Whether the tracer has broken down for good. What is attached stays as it is then, and can no
    /// longer be changed; calls go on to get what they got.
    fn is_dead(&self) -> bool;
}

/// How calls of a patch's functions get to it once its transition is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gear {
    /// Through the handler, as during the transition.
    Handler,
    /// Straight to the replacement.
    Settled,
}

/// How often a batch that the tracer refuses for the moment is tried again. ftrace takes some time
/// before each such answer: somebody else is changing a direct caller, such as a BPF trampoline.
const RETRIES: usize = 100;

/// Longest instruction by which an architecture calls the tracer, in bytes.
const LONGEST_CALL: usize = 8;

/// Where in `function` the call of the tracer is, up to the address that it returns to, included.
pub(crate) fn entry(function: usize, location: Option<usize>) -> Range {
    let size = location.map_or(0, |location| {
        let offset = location.saturating_sub(function);
        offset.saturating_add(LONGEST_CALL + 1)
    });
    Range {
        start: function,
        size,
    }
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

/// A version to be put on top of those of a function.
#[derive(Clone, Copy)]
pub struct Addition<'a, F> {
    /// The address of the function.
    pub function: usize,
    /// Where in it the tracer can take over, `None` where it can't.
    pub location: Option<usize>,
    /// The function's name, for messages.
    pub name: &'a Name,
    /// The version.
    pub version: Version<F>,
}

/// A patched function: its hook and its versions, newest last. One without versions is about to be
/// detached, or was, and waits for its handlers.
struct Redirection<F, H> {
    function: usize,
    /// The place of its addition among those of the batch, which tells aliases apart.
    order: usize,
    hook: H,
    attached: bool,
    versions: KVec<Version<F>>,
}

impl<F: Copy + PartialEq, H> Redirection<F, H> {
    fn publish<T: Tracer<Hook = H> + ?Sized>(&self, tracer: &T) {
        tracer.site(&self.hook).publish(view_of(&self.versions));
    }
}

/// The view that a stack of versions, newest last, gives.
///
/// A patch may have two versions of one function, under two names. A task that has not moved is to
/// get neither.
fn view_of<F: Copy>(versions: &[Version<F>]) -> View {
    let target =
        |version: Option<&Version<F>>| version.map_or(Target::Original, |version| version.target);
    let mut downward = versions.iter().rev();
    let newest = downward.next();
    if newest.is_some_and(|version| version.in_transition) {
        View::InTransition {
            newest: target(newest),
            below: target(downward.find(|version| !version.in_transition)),
        }
    } else {
        View::Settled(target(newest))
    }
}

/// All patched functions, sorted by address. Belongs to the core's lock.
///
/// Functions come and go in batches, which is what the tracer is quick at: [`Self::push`] attaches
/// all that are new in one go; [`Self::remove`] only takes versions away, until [`Self::detach`]
/// detaches all that have none left. Those stay here until [`Self::reap`], so that nothing has to be
/// allocated for them.
pub struct Redirections<F, H>(KVec<Redirection<F, H>>);

impl<F: Copy + PartialEq, H> Redirections<F, H> {
    /// None yet.
    pub const fn new() -> Self {
        Self(KVec::new())
    }

    fn search(&self, function: usize) -> Option<usize> {
        self.0
            .binary_search_by_key(&function, |redirection| redirection.function)
            .ok()
    }

    fn get(&self, function: usize) -> Option<&Redirection<F, H>> {
        self.0.get(self.search(function)?)
    }

    fn get_mut(&mut self, function: usize) -> Option<&mut Redirection<F, H>> {
        let index = self.search(function)?;
        self.0.get_mut(index)
    }

    /// Number of functions that are patched or not yet reaped, for tests on the host.
    #[cfg(not(CONFIG_LIVEPATCH))]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts versions on top of those of their functions, hooking the functions that have none: all of
    /// them, or none.
    ///
    /// Errors: `EINVAL` where a function can't be traced, `ENOMEM`, or the tracer's. After an error
    /// there may be hooks to [reap](Self::reap). C counterpart: `klp_patch_func()`, for each.
    pub fn push<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>> + Clone,
    ) -> Result {
        let result = self
            .prepare(tracer, additions.clone())
            .and_then(|()| self.attach(tracer, additions.clone()));
        if result.is_err() {
            for redirection in self.0.iter_mut().filter(|own| !own.attached) {
                redirection.versions.clear();
            }
            for addition in additions {
                if let Some(redirection) = self.get_mut(addition.function) {
                    let own = addition.version.function;
                    redirection
                        .versions
                        .retain(|version| version.function != own);
                }
            }
            self.detach(tracer);
            return result;
        }
        for addition in additions {
            if let Some(redirection) = self.get(addition.function) {
                redirection.publish(tracer);
            }
        }
        result
    }

    /// Adds all versions, with hooks for functions that have none, so that nothing is left that needs
    /// memory of ours. Nobody else sees any of it yet.
    fn prepare<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        let known = self.0.len();
        let result = additions
            .enumerate()
            .try_for_each(|(order, addition)| self.prepare_one(tracer, known, order, &addition));
        // Also after an error, which is undone by search.
        sort_by_key(&mut self.0, |own| (own.function, own.order));
        self.merge_aliases()?;
        result
    }

    /// Adds one version; of a function that is not among the first `known`, at the end.
    fn prepare_one<T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        known: usize,
        order: usize,
        addition: &Addition<'_, F>,
    ) -> Result {
        let known = self.0.get_mut(..known).unwrap_or_default();
        let found = known.binary_search_by_key(&addition.function, |own| own.function);
        if let Some(redirection) = found.ok().and_then(|index| known.get_mut(index)) {
            redirection.versions.push(addition.version, GFP_KERNEL)?;
            return Ok(());
        }
        let Some(location) = addition.location else {
            pr_err!("failed to find location for function '{}'\n", addition.name);
            return Err(EINVAL);
        };
        let mut versions = KVec::with_capacity(1, GFP_KERNEL)?;
        versions.push(addition.version, GFP_KERNEL)?;
        let redirection = Redirection {
            function: addition.function,
            order,
            hook: tracer.new_hook(location, Site::new(view_of(&versions)))?,
            attached: false,
            versions,
        };
        self.0.push(redirection, GFP_KERNEL)?;
        Ok(())
    }

    /// Leaves one of the redirections that have the same function, with the versions of all.
    fn merge_aliases(&mut self) -> Result {
        let mut merged = false;
        for index in (1..self.0.len()).rev() {
            let Some((before, [alias, ..])) = self.0.split_at_mut_checked(index) else {
                break;
            };
            let Some(first) = before.last_mut() else {
                break;
            };
            if first.function == alias.function {
                merged = true;
                for &version in &alias.versions {
                    first.versions.push(version, GFP_KERNEL)?;
                }
                alias.versions.clear();
            }
        }
        if merged {
            // No tracer has seen their hooks.
            self.reap();
        }
        Ok(())
    }

    /// Attaches all that has versions and is not, in one go.
    fn attach<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        let fresh = self.0.iter().filter(|redirection| !redirection.attached);
        let mut hooks = KVec::with_capacity(fresh.clone().count(), GFP_KERNEL)?;
        for redirection in fresh {
            hooks.push(&redirection.hook, GFP_KERNEL)?;
        }
        if hooks.is_empty() {
            return Ok(());
        }
        let mut result = tracer.attach(&hooks);
        // One by one they might all succeed, and then would each have a place of its own for good.
        for _ in 0..RETRIES {
            match result {
                Err(Refusal::Register(error)) if error == EAGAIN => {}
                _ => break,
            }
            result = tracer.attach(&hooks);
        }
        drop(hooks);
        if result.is_err() {
            return self.attach_each(tracer, additions);
        }
        for redirection in self.0.iter_mut() {
            redirection.attached = true;
        }
        Ok(())
    }

    /// Attaches one after the other, in the order of the patch, to find the one that is refused.
    fn attach_each<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        mut additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        additions.try_for_each(|addition| {
            let Some(redirection) = self.get_mut(addition.function) else {
                return Err(EINVAL);
            };
            if !redirection.attached {
                tracer
                    .attach(&[&redirection.hook])
                    .map_err(|refusal| refusal.report(addition.name))?;
                redirection.attached = true;
            }
            Ok(())
        })
    }

    /// Takes the version of `owner` off `function`. A function that has none left runs the original,
    /// and is to be [detached](Self::detach).
    ///
    /// C counterpart: `klp_unpatch_func()`.
    pub fn remove<T: Tracer<Hook = H> + ?Sized>(&mut self, tracer: &T, function: usize, owner: F) {
        let is_owner = |version: &Version<F>| version.function == owner;
        match self.get_mut(function) {
            Some(redirection) if redirection.versions.iter().any(is_owner) => {
                redirection.versions.retain(|version| !is_owner(version));
                redirection.publish(tracer);
            }
            _ => {
                kernel::warn_on!(true);
            }
        }
    }

    /// Detaches all functions that have no versions left, in one go. Needs no memory.
    pub fn detach<T: Tracer<Hook = H> + ?Sized>(&mut self, tracer: &T) {
        let unused = |own: &&Redirection<F, H>| own.attached && own.versions.is_empty();
        let mut unused = self.0.iter().filter(unused).peekable();
        if unused.peek().is_none() {
            return;
        }
        tracer.detach(&mut unused.map(|own| &own.hook));
        for redirection in self.0.iter_mut() {
            redirection.attached &= !redirection.versions.is_empty();
        }
    }

    /// Lets calls of `function` go straight to `owner`'s version, if that is the newest, from the
    /// tracer's next [`settle`](Tracer::settle) on.
    pub fn may_settle<T: Tracer<Hook = H> + ?Sized>(&self, tracer: &T, function: usize, owner: F) {
        if let Some(own) = self.get(function) {
            let newest = own.versions.last();
            if own.attached && newest.is_some_and(|version| version.function == owner) {
                tracer.set_settles(&own.hook, true);
            }
        }
    }

    /// Has calls of `function`, if it is patched, go through the handler from the tracer's next
    /// [`unsettle`](Tracer::unsettle) on, so that its site can change then.
    pub fn must_not_settle<T: Tracer<Hook = H> + ?Sized>(&self, tracer: &T, function: usize) {
        if let Some(own) = self.get(function) {
            tracer.set_settles(&own.hook, false);
        }
    }

    /// Whether there are hooks to reap.
    pub fn is_littered(&self) -> bool {
        self.0.iter().any(|own| own.versions.is_empty())
    }

    /// Forgets functions that were detached. The caller has waited for their handlers since.
    pub fn reap(&mut self) {
        self.0
            .retain(|own| own.attached || !own.versions.is_empty());
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
        redirection.publish(tracer);
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
