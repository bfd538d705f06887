// SPDX-License-Identifier: GPL-2.0

//! The settled gear: ftrace branches straight to the replacements.
//!
//! When no site of a batch is in transition, its calls go straight to the replacements: ftrace puts
//! a branch in place of its call, wherever nothing else is attached. The operations stay
//! registered, so ftrace accepts or refuses other users as it would without the branch. While
//! another user is attached to a location, ftrace's call is back there, and with it our handler.
//!
//! A call takes the branch or goes through the handler: ftrace replaces one instruction by the
//! other as a whole. Both lead to the same function as long as the site does not change. So ftrace
//! may write the branches one after the other while the handler is in use. Sites change only after
//! `ftrace_unsettle()` has returned, when no CPU executes a branch any more. A task that has taken
//! a branch is in the replacement, where the stack check finds it. Where code is in between, only
//! an interrupt can stop the task there, and that makes its stack unreliable.

use super::{
    find,
    Batch,
    TRACED, //
};
use crate::{
    livepatch_arch::{
        Backend,
        Native, //
    },
    livepatch_core::{
        settle::{
            Gear,
            Settle, //
        },
        site::{
            Target,
            View, //
        }, //
    },
    Linux, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

impl Batch {
    /// Returns where calls at the location may go without the handler, or 0 if they may not bypass
    /// it. The caller holds [`TRACED`].
    fn settled_call(location: c_ulong) -> c_ulong {
        // SAFETY: `TRACED` is held until this returns, and the entry is not used after that.
        let entry = unsafe { find(location) };
        let entry = entry.filter(|entry| entry.settles.load(Relaxed));
        let address = match entry.map(|entry| entry.site.view()) {
            Some(View::Settled(Target::Replacement(address))) => Native::settled_call(address),
            _ => None,
        };
        address.unwrap_or(0) as c_ulong
    }

    /// Whether exactly those calls bypass the handler that may do so. The caller holds [`TRACED`].
    fn is_settled(&self) -> bool {
        let mut settled = self.settled.iter();
        self.locations
            .iter()
            .all(|&location| settled.next().copied().unwrap_or(0) == Self::settled_call(location))
    }

    /// Has ftrace send all calls that may bypass the handler straight to the replacement. The
    /// caller holds [`TRACED`].
    fn settle(&mut self) {
        if self.is_settled() || self.unsettle().is_err() {
            return;
        }
        for &location in &self.locations {
            let address = Self::settled_call(location);
            // `settled` has room for as many addresses as there are locations.
            if self.settled.push_within_capacity(address).is_err() {
                self.settled.clear();
                return;
            }
        }
        // SAFETY: Each address is 0 or that of the version that the site has for every task. The
        // core changes a site only after `unsettle`.
        if unsafe { self.ops.settle(&self.locations, &self.settled) }.is_err() {
            self.settled.clear();
        }
    }

    /// Has all calls go through the handler again. Errors: `ENODEV` if ftrace is dead.
    pub(super) fn unsettle(&mut self) -> Result {
        if !self.settled.is_empty() {
            self.ops.unsettle()?;
            self.settled.clear();
        }
        Ok(())
    }
}

impl Settle for Linux {
    const SETTLES: bool = cfg!(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED);

    fn set_settles(&self, hook: &Self::Hook, settles: bool) {
        hook.0.settles.store(settles, Relaxed);
    }

    fn settle(&self) {
        TRACED.lock().iter_mut().for_each(Batch::settle);
    }

    fn unsettle(&self) -> Result {
        let mut traced = TRACED.lock();
        let mut leaving = traced.iter_mut().filter(|batch| !batch.is_settled());
        leaving.try_for_each(Batch::unsettle)
    }
}

/// Whether this kernel and this architecture let calls bypass the handler.
pub(crate) fn can_settle() -> bool {
    <Linux as Settle>::SETTLES && Native::settled_call(0).is_some()
}

/// The gear that a patch starts with.
pub(crate) fn default_gear() -> Gear {
    if can_settle() && crate::module_parameters::settle.value() {
        Gear::Settled
    } else {
        Gear::Handler
    }
}
