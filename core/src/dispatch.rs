// SPDX-License-Identifier: GPL-2.0

//! Dispatch: which version of a function a call gets.
//!
//! Each patched function has a [`Site`] and a stack of versions. The site is a lock-free cell that
//! the ftrace handler reads. The versions are used only under the core's lock.
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
    symbol::Name,
    transition::Scheduler, //
};
use kernel::prelude::*;

/// Why the tracer refused hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The hooks' locations could not be added to the tracer's filter.
    Filter(Error),
    /// The handler could not be registered.
    Register(Error),
}

impl Refusal {
    /// Logs the refusal for the function `name`, as the C core does, and returns the error.
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

/// What the core asks of the tracer (ftrace): it sends the calls of a function where its site says.
///
/// One handler serves all functions and finds the hook by the location. It is called with
/// preemption off. If it finds no hook, the original runs, so it may be called for any location.
pub trait Tracer: Scheduler {
    /// A function that the tracer traces for the core. The hook owns the [`Site`] that the handler
    /// reads. Handlers may still use a hook that was attached, so only [`Self::free`] gives back
    /// its memory: to drop it is to lose that memory.
    type Hook;

    /// Length of the instruction that calls the tracer, in bytes.
    const CALL_SIZE: usize;

    /// Returns the location where the tracer can take over at the entry of the function at this
    /// address. `None` if there is no such location. A location in the code behind the function is
    /// never returned, even if that code has no symbol of its own.
    fn location(&self, function: usize) -> Option<usize>;

    /// Creates a hook that is not yet in effect. Errors: `ENOMEM`.
    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook>;

    /// Returns the site that the handler reads for this hook.
    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site;

    /// Attaches all of the hooks, or none. No two of them have the same location.
    ///
    /// Afterwards calls on all CPUs go through the handler. The handler sees the site as it is at
    /// this call, or later.
    fn attach(&self, hooks: &[&Self::Hook]) -> Result<(), Refusal>;

    /// Detaches the hooks. Handlers may still use them afterwards.
    ///
    /// This can't fail. If the tracer can't be updated at once, for example for lack of memory, it
    /// keeps calling the handler, which finds no hook.
    fn detach(&self, hooks: &mut dyn Iterator<Item = &Self::Hook>);

    /// Frees a hook that was attached. Its memory is lost, with a warning, if the hook is still
    /// attached or nothing has waited since it was detached.
    fn free(&self, hook: Self::Hook, quiesced: &Self::Quiesced);

    /// Whether the tracer has broken down for good. Attached hooks then stay as they are and can no
    /// longer be changed. Calls keep getting the version that they got before.
    fn is_dead(&self) -> bool;
}

/// How often a batch is tried again after a temporary refusal by the tracer. ftrace refuses this
/// way, after some time, while another user is changing a direct caller such as a BPF trampoline.
const RETRIES: usize = 100;

/// Returns the range from the start of `function` through the return address of its call of the
/// tracer, which is `call` bytes long.
pub(crate) fn prologue(function: usize, location: Option<usize>, call: usize) -> Range {
    let size = location.map_or(0, |location| {
        let offset = location.saturating_sub(function);
        offset.saturating_add(call).saturating_add(1)
    });
    Range {
        start: function,
        size,
    }
}

/// One version of a patched function.
#[derive(Clone, Copy, Debug)]
pub struct Version<F> {
    /// The function that the version belongs to.
    pub function: F,
    /// Where the version sends calls.
    pub target: Target,
    /// The version's code. For a nop, this is the code of the original.
    pub code: Range,
    /// Whether the version's patch is in transition.
    pub in_transition: bool,
}

/// A version to be put on top of the versions of a function.
#[derive(Clone, Copy)]
pub struct Addition<'a, F> {
    /// The address of the function.
    pub function: usize,
    /// The location where the tracer can take over. `None` if there is none.
    pub location: Option<usize>,
    /// The function's name, for messages.
    pub name: &'a Name,
    /// The version.
    pub version: Version<F>,
}

/// What the tracer knows of a hook.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Nothing yet.
    Fresh,
    /// It sends calls to the handler.
    Attached,
    /// It has been detached, and handlers may still use the hook.
    Detached,
}

/// A patched function: its hook and its versions, newest last.
///
/// A redirection without versions is about to be detached, or is detached and waits for its
/// handlers.
struct Redirection<F, H> {
    function: usize,
    /// The position of its addition in the batch, which tells aliases apart.
    order: usize,
    /// `None` only while the redirection is being dropped.
    hook: Option<H>,
    link: Link,
    versions: KVec<Version<F>>,
}

impl<F: Copy + PartialEq, H> Redirection<F, H> {
    fn publish<T: Tracer<Hook = H> + ?Sized>(&self, tracer: &T) {
        if let Some(hook) = &self.hook {
            tracer.site(hook).publish(view_of(&self.versions));
        }
    }

    /// Whether the hook has to be attached.
    fn is_waiting(&self) -> bool {
        self.link != Link::Attached && !self.versions.is_empty()
    }
}

/// Returns the view for a stack of versions, newest last.
///
/// A patch may have two versions of one function, under two names. A task that has not moved must
/// get neither of them.
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

/// All patched functions, sorted by address. The core's lock protects them.
///
/// Functions come and go in batches, since the tracer is fast with batches. [`Self::push`] attaches
/// all new functions at once. [`Self::remove`] only removes versions, and [`Self::detach`] detaches
/// all functions without versions at once. Detached functions stay here until [`Self::reap`], so
/// that detaching needs no memory.
pub struct Redirections<F, H>(KVec<Redirection<F, H>>);

impl<F: Copy + PartialEq, H> Redirections<F, H> {
    /// Creates an empty set.
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

    /// Returns the number of functions that are patched or not yet reaped, for tests on the host.
    #[cfg(not(CONFIG_LIVEPATCH))]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts all of the versions on top of their functions' versions, or none. Hooks the functions
    /// that have no hook yet.
    ///
    /// Errors: `EINVAL` if a function can't be traced, `ENOMEM`, or the tracer's error. After an
    /// error there may be hooks to [reap](Self::reap). C counterpart, for one function:
    /// `klp_patch_func()`.
    pub fn push<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>> + Clone,
    ) -> Result {
        let result = self
            .prepare(tracer, additions.clone())
            .and_then(|()| self.attach(tracer, additions.clone()));
        if result.is_err() {
            for redirection in self.0.iter_mut().filter(|own| own.is_waiting()) {
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

    /// Adds all versions, and hooks for the functions that have none. The handler sees none of this
    /// yet. Later steps need no memory for versions or hooks.
    fn prepare<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        let known = self.0.len();
        let result = additions
            .enumerate()
            .try_for_each(|(order, addition)| self.prepare_one(tracer, known, order, &addition));
        // Sort after an error too: undoing it searches the redirections.
        sort_by_key(&mut self.0, |own| (own.function, own.order));
        self.merge_aliases()?;
        result
    }

    /// Adds one version. A function that is not among the first `known` is added at the end.
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
            hook: Some(tracer.new_hook(location, Site::new(view_of(&versions)))?),
            link: Link::Fresh,
            versions,
        };
        self.0.push(redirection, GFP_KERNEL)?;
        Ok(())
    }

    /// Merges the redirections of the same function into one, with the versions of all.
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
            // The tracer has not seen the hooks of the aliases, so no wait is needed.
            self.0
                .retain(|own| own.link != Link::Fresh || !own.versions.is_empty());
        }
        Ok(())
    }

    /// Attaches all redirections that have to be attached, at once.
    fn attach<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        let waiting = self.0.iter().filter(|own| own.is_waiting());
        let waiting = waiting.filter_map(|own| own.hook.as_ref());
        let mut hooks = KVec::with_capacity(waiting.clone().count(), GFP_KERNEL)?;
        for hook in waiting {
            hooks.push(hook, GFP_KERNEL)?;
        }
        if hooks.is_empty() {
            return Ok(());
        }
        let mut result = tracer.attach(&hooks);
        // Retry the batch before attaching one by one: that might succeed too, but each hook would
        // then stay a batch of its own for good.
        for _ in 0..RETRIES {
            match result {
                Err(Refusal::Register(error)) if error == EAGAIN => {}
                _ => break,
            }
            result = tracer.attach(&hooks);
        }
        drop(hooks);
        // Handlers may use the hooks even if the tracer has refused them.
        let link = match result {
            Ok(()) => Link::Attached,
            Err(_) => Link::Detached,
        };
        for redirection in self.0.iter_mut().filter(|own| own.is_waiting()) {
            redirection.link = link;
        }
        result.or_else(|_| self.attach_each(tracer, additions))
    }

    /// Attaches one function after the other, in the order of the patch, to find the refused one.
    fn attach_each<'a, T: Tracer<Hook = H> + ?Sized>(
        &mut self,
        tracer: &T,
        mut additions: impl Iterator<Item = Addition<'a, F>>,
    ) -> Result {
        additions.try_for_each(|addition| {
            let own = self.get_mut(addition.function).ok_or(EINVAL)?;
            let Some(hook) = own.hook.as_ref().filter(|_| own.is_waiting()) else {
                return Ok(());
            };
            tracer
                .attach(&[hook])
                .map_err(|refusal| refusal.report(addition.name))?;
            own.link = Link::Attached;
            Ok(())
        })
    }

    /// Removes the version of `owner` from `function`. A function without versions runs the
    /// original and must then be [detached](Self::detach).
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

    /// Detaches all functions without versions at once. Needs no memory.
    pub fn detach<T: Tracer<Hook = H> + ?Sized>(&mut self, tracer: &T) {
        let is_unused =
            |own: &Redirection<F, H>| own.link == Link::Attached && own.versions.is_empty();
        let unused = self.0.iter().filter(|own| is_unused(own));
        let mut unused = unused.filter_map(|own| own.hook.as_ref()).peekable();
        if unused.peek().is_none() {
            return;
        }
        tracer.detach(&mut unused);
        for redirection in self.0.iter_mut().filter(|own| is_unused(own)) {
            redirection.link = Link::Detached;
        }
    }

    /// Returns the hook of `function`, if it is patched.
    pub(crate) fn hook(&self, function: usize) -> Option<&H> {
        self.get(function)?.hook.as_ref()
    }

    /// Returns the attached hook of `function`, if its newest version is `owner`'s.
    pub(crate) fn newest_hook(&self, function: usize, owner: F) -> Option<&H> {
        let own = self.get(function)?;
        let newest = own.versions.last().map(|version| version.function);
        let newest = own.link == Link::Attached && newest == Some(owner);
        own.hook.as_ref().filter(|_| newest)
    }

    /// Whether there are hooks to reap.
    pub fn is_littered(&self) -> bool {
        self.0.iter().any(|own| own.versions.is_empty())
    }

    /// Frees the hooks of detached functions, whose handlers have been waited for.
    pub fn reap<T: Tracer<Hook = H> + ?Sized>(&mut self, tracer: &T, quiesced: &T::Quiesced) {
        self.0.retain(|own| {
            let keep = own.link == Link::Attached || !own.versions.is_empty();
            if !keep {
                if let Some(hook) = own.hook.take() {
                    tracer.free(hook, quiesced);
                }
            }
            keep
        });
    }

    /// Sets whether `owner`'s version of `function` is in transition.
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

    /// Returns the code of the newest version of `function`. `None` stands for the original.
    pub fn newest(&self, function: usize) -> Option<Range> {
        Some(self.get(function)?.versions.last()?.code)
    }

    /// Returns the code of the version below `owner`'s version of `function`, which `owner`
    /// replaces. `None` stands for the original.
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

#[cfg(test)]
#[kunit_tests(livepatch_dispatch)]
mod tests {
    use super::{
        Target::{
            Original,
            Replacement, //
        },
        *, //
    };

    const fn version(target: Target, in_transition: bool) -> Version<u8> {
        Version {
            function: 0,
            target,
            code: Range { start: 0, size: 0 },
            in_transition,
        }
    }

    const FIRST: Target = Replacement(0x1000);
    const SECOND: Target = Replacement(0x2000);
    const THIRD: Target = Replacement(0x3000);

    #[test]
    fn without_versions_the_original_runs() {
        assert_eq!(view_of::<u8>(&[]), View::Settled(Original));
    }

    #[test]
    fn without_a_transition_the_newest_version_runs() {
        let versions = [FIRST, SECOND, THIRD].map(|target| version(target, false));
        assert_eq!(view_of(&versions), View::Settled(THIRD));
        let [first, second, _] = versions;
        assert_eq!(view_of(&[first, second]), View::Settled(SECOND));
        assert_eq!(view_of(&[first]), View::Settled(FIRST));
        // A nop sends calls to the original.
        let versions = [first, version(Original, false)];
        assert_eq!(view_of(&versions), View::Settled(Original));
    }

    #[test]
    fn a_task_that_has_not_moved_gets_the_version_below() {
        let view = |newest, below| View::InTransition { newest, below };
        assert_eq!(view_of(&[version(FIRST, true)]), view(FIRST, Original));
        let versions = [version(FIRST, false), version(SECOND, true)];
        assert_eq!(view_of(&versions), view(SECOND, FIRST));
        let versions = [
            version(FIRST, false),
            version(SECOND, false),
            version(Original, true),
        ];
        assert_eq!(view_of(&versions), view(Original, SECOND));
    }

    #[test]
    fn a_task_that_has_not_moved_gets_no_alias() {
        let versions = [
            version(FIRST, false),
            version(SECOND, true),
            version(THIRD, true),
        ];
        let (newest, below) = (THIRD, FIRST);
        assert_eq!(view_of(&versions), View::InTransition { newest, below });
        let [_, second, third] = versions;
        let below = Original;
        assert_eq!(
            view_of(&[second, third]),
            View::InTransition { newest, below }
        );
    }

    #[test]
    fn a_transition_below_the_newest_version_is_not_shown() {
        let versions = [version(FIRST, true), version(SECOND, false)];
        assert_eq!(view_of(&versions), View::Settled(SECOND));
    }

    #[test]
    fn the_prologue_covers_the_return_address_of_the_call() {
        let end = |location| {
            let Range { start, size } = prologue(0x1000, location, 5);
            start + size
        };
        assert_eq!(end(Some(0x1000)), 0x1006);
        assert_eq!(end(Some(0x1004)), 0x100a);
        assert_eq!(end(None), 0x1000);
    }
}
