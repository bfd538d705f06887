// SPDX-License-Identifier: GPL-2.0

//! Failures on demand, except those of memory, which are in `kernel::alloc::fail_after`.

use kernel::prelude::*;
use std::cell::RefCell;

/// An operation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Taking a reference to a livepatch module.
    GetModule,
    /// Setting an ftrace filter.
    Filter,
    /// Clearing an ftrace filter.
    Unfilter,
    /// Registering with ftrace.
    Register,
    /// Unregistering from ftrace.
    Unregister,
    /// Sending calls straight to the replacement.
    Settle,
    /// Sending calls through the handler again.
    Unsettle,
    /// Writing a module's klp relocations.
    Relocate,
    /// A pre-patch callback.
    PrePatch,
}

/// The failures that are still to come.
#[derive(Default)]
pub struct Faults(RefCell<Vec<(Operation, usize, Error)>>);

impl Faults {
    /// Makes `operation` fail once, after `successes` successes.
    pub fn after(&self, operation: Operation, successes: usize, error: Error) {
        self.0.borrow_mut().push((operation, successes, error));
    }

    /// Whether all requested failures have happened.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Forgets the failures that have not happened yet.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    pub(crate) fn check(&self, operation: Operation) -> Result {
        let mut faults = self.0.borrow_mut();
        let Some(index) = faults.iter().position(|fault| fault.0 == operation) else {
            return Ok(());
        };
        if faults[index].1 > 0 {
            faults[index].1 -= 1;
            return Ok(());
        }
        Err(faults.remove(index).2)
    }
}
