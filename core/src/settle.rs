// SPDX-License-Identifier: GPL-2.0

//! The settled gear: calls that go straight to the replacement once every task uses the patch.
//!
//! Outside of transitions the handler has nothing to decide for a function. The tracer then puts a
//! branch to the newest version in place of its call, wherever nothing else is attached. Before a
//! site changes, the calls go through the handler again.
//!
//! The C core has no counterpart.

// Without the attribute `gear` nothing asks for a gear.
#![cfg_attr(all(CONFIG_LIVEPATCH, not(CONFIG_LIVEPATCH_SETTLE)), allow(dead_code))]

use super::{
    dispatch::{
        Redirections,
        Tracer, //
    },
    patch::{
        Object,
        Patch,
        Sites, //
    },
    registry::{
        Core,
        Selected, //
    },
    Kernel, //
};
use kernel::prelude::*;

/// What the core asks of a tracer that can let calls bypass its handler.
pub trait Settle: Tracer {
    /// Whether this kernel is built with it. Otherwise nothing below is called.
    const SETTLES: bool;

    /// Sets whether calls of the hook's function may go straight to the target that its site has
    /// for every task. [`Self::settle`] and [`Self::unsettle`] act on this setting.
    fn set_settles(&self, hook: &Self::Hook, settles: bool);

    /// Lets all calls that may go straight to the replacement do so, as far as the tracer can.
    ///
    /// If the tracer can't, or another user of the tracer wants to see the calls, the handler is
    /// still called. This never changes which version a call gets, not even for a moment.
    fn settle(&self);

    /// Makes all calls that may not go straight to the replacement go through the handler again.
    ///
    /// Other calls may go through the handler too, until the next [`Self::settle`]. Needs no
    /// memory. Errors: the tracer has broken down; then nothing has changed.
    fn unsettle(&self) -> Result;
}

/// How calls of a patch's functions reach the patch once its transition is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gear {
    /// Calls go through the handler, as during the transition.
    Handler,
    /// Calls go straight to the replacement.
    Settled,
}

impl Gear {
    /// Parses the name of a gear. A trailing newline is allowed. Errors: `EINVAL`.
    pub fn parse(input: &[u8]) -> Result<Self> {
        match input.strip_suffix(b"\n").unwrap_or(input) {
            b"handler" => Ok(Self::Handler),
            b"settled" => Ok(Self::Settled),
            _ => Err(EINVAL),
        }
    }

    /// Returns the name of a gear. Without a gear, the transition decides how calls go.
    pub fn text(gear: Option<Self>) -> &'static str {
        match gear {
            None => "transition",
            Some(Self::Handler) => "handler",
            Some(Self::Settled) => "settled",
        }
    }
}

impl<K: Kernel> Core<K> {
    /// Returns the gear of `patch`: how calls reach its functions. `None` if the patch is in
    /// transition or not listed.
    pub fn gear(&self, patch: K::PatchId) -> Option<Gear> {
        let own = self.find(patch).filter(|own| !own.is_in_transition());
        own.map(|own| own.gear)
    }

    /// Sets the gear of `patch`: how calls reach its functions while no transition needs the
    /// handler.
    ///
    /// Errors: `ENODEV` if the tracer is dead, `EINVAL` if the patch is not listed, or the tracer's
    /// error.
    pub fn set_gear(&mut self, kernel: &K, patch: K::PatchId, gear: Gear) -> Result {
        if kernel.is_dead() {
            return Err(ENODEV);
        }
        let own = self.select(|own| own.id() == patch).ok_or(EINVAL)?;
        if gear == Gear::Handler {
            own.patch.unsettle(kernel, own.sites)?;
        }
        let changed = own.patch.gear != gear;
        own.patch.gear = gear;
        own.settle(kernel);
        if changed {
            kernel.gear_changed(&own.patch.name, gear);
        }
        Ok(())
    }
}

impl<K: Kernel> Selected<'_, K> {
    /// Lets calls of all patches' functions go straight to the newest version where they may.
    pub(crate) fn settle(&self, kernel: &K) {
        if K::SETTLES {
            may_settle(kernel, self.older, self.sites);
            may_settle(kernel, core::slice::from_ref(self.patch), self.sites);
            may_settle(kernel, self.newer, self.sites);
            kernel.settle();
        }
    }
}

/// Lets calls of the patches' functions go straight to the newest version where they may.
pub(crate) fn settle<K: Kernel>(kernel: &K, patches: &[Patch<K>], sites: &Sites<K>) {
    if K::SETTLES {
        may_settle(kernel, patches, sites);
        kernel.settle();
    }
}

/// Marks the functions whose calls may go straight to their newest version: the patch of that
/// version asks for it, and no transition of that version is in progress.
fn may_settle<K: Kernel>(kernel: &K, patches: &[Patch<K>], sites: &Sites<K>) {
    // Use loops: chained iterators would produce symbol names that are too long for kallsyms.
    for patch in patches.iter().filter(|patch| patch.gear == Gear::Settled) {
        for function in patch.objects.iter().flat_map(|object| &object.functions) {
            if function.patched && !function.transition {
                sites.may_settle(kernel, function.old.start, function.id());
            }
        }
    }
}

impl<K: Kernel> Patch<K> {
    /// Makes all calls of the patch's functions go through the handler, so that their sites can
    /// change. Errors: the tracer's error. Then calls may go straight to the replacements again.
    pub(crate) fn unsettle(&self, kernel: &K, sites: &Sites<K>) -> Result {
        for object in &self.objects {
            object.must_not_settle(kernel, sites);
        }
        match K::SETTLES {
            true => kernel.unsettle(),
            false => Ok(()),
        }
    }
}

impl<K: Kernel> Object<K> {
    /// Makes all calls of the object's functions go through the handler before its module goes.
    pub(crate) fn unsettle(&self, kernel: &K, sites: &Sites<K>) {
        if K::SETTLES {
            self.must_not_settle(kernel, sites);
            let unsettled = kernel.unsettle();
            // A dead tracer keeps sending calls to the old targets. That is harmless here: the
            // module's code is going and is not called any more.
            kernel::warn_on!(unsettled.is_err() && !kernel.is_dead());
        }
    }

    /// Makes calls of the object's functions go through the handler from the next
    /// [`Settle::unsettle`] on.
    fn must_not_settle(&self, kernel: &K, sites: &Sites<K>) {
        if K::SETTLES {
            for function in &self.functions {
                sites.must_not_settle(kernel, function.old.start);
            }
        }
    }
}

impl<F: Copy + PartialEq, H> Redirections<F, H> {
    /// Lets calls of `function` go straight to `owner`'s version from the tracer's next
    /// [`settle`](Settle::settle) on, if that version is the newest.
    pub fn may_settle<T: Settle<Hook = H> + ?Sized>(&self, tracer: &T, function: usize, owner: F) {
        if let Some(hook) = self.newest_hook(function, owner) {
            tracer.set_settles(hook, true);
        }
    }

    /// Makes calls of `function`, if it is patched, go through the handler from the tracer's next
    /// [`unsettle`](Settle::unsettle) on. After that its site can change.
    pub fn must_not_settle<T: Settle<Hook = H> + ?Sized>(&self, tracer: &T, function: usize) {
        if let Some(hook) = self.hook(function) {
            tracer.set_settles(hook, false);
        }
    }
}

#[cfg(test)]
#[kunit_tests(livepatch_settle)]
mod tests {
    use super::*;

    #[test]
    fn gears_have_names() {
        assert_eq!(Gear::text(None), "transition");
        assert_eq!(Gear::text(Some(Gear::Handler)), "handler");
        assert_eq!(Gear::text(Some(Gear::Settled)), "settled");
    }

    #[test]
    fn a_gear_is_written_by_its_name() {
        assert_eq!(Gear::parse(b"handler"), Ok(Gear::Handler));
        assert_eq!(Gear::parse(b"handler\n"), Ok(Gear::Handler));
        assert_eq!(Gear::parse(b"settled"), Ok(Gear::Settled));
        assert_eq!(Gear::parse(b"settled\n"), Ok(Gear::Settled));
    }

    #[test]
    fn anything_else_is_no_gear() {
        for text in [
            "",
            "\n",
            "1",
            "settle",
            "Settled",
            "handler\n\n",
            "settled\n\n",
            " settled",
            "transition",
        ] {
            assert_eq!(Gear::parse(text.as_bytes()), Err(EINVAL));
        }
    }
}
