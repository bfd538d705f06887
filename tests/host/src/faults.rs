// SPDX-License-Identifier: GPL-2.0

//! Failures on demand, other than of memory (those are `kernel::alloc::fail_after`).

use kernel::prelude::*;
use std::cell::RefCell;

/// Something that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Taking a reference to a livepatch module.
    GetModule,
    /// Setting an ftrace filter.
    Filter,
    /// Clearing it.
    Unfilter,
    /// Registering with ftrace.
    Register,
    /// Unregistering.
    Unregister,
    /// Letting calls go straight to the replacement.
    Settle,
    /// Sending them through the handler again.
    Unsettle,
    /// Writing a module's klp relocations.
    Relocate,
    /// A pre-patch callback.
    PrePatch,
}

/// What is to fail, and when.
#[derive(Default)]
pub struct Faults(RefCell<Vec<(Operation, usize, Error)>>);

impl Faults {
    /// Lets `operation` fail, once, after it has succeeded so often.
    pub fn after(&self, operation: Operation, successes: usize, error: Error) {
        self.0.borrow_mut().push((operation, successes, error));
    }

    /// Whether everything that was asked for has happened.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Forgets what has not happened yet.
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
