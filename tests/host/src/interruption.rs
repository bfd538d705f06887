// SPDX-License-Identifier: GPL-2.0

//! Interruptions: what other CPUs do while the core is in the middle of an operation.
//!
//! Each call of the core into the simulation is a *point*; a plan says which steps happen before
//! which point. So the interleavings of the core with the tasks can be explored, one by one and
//! repeatably, without threads. What the hardware may reorder within a step is for loom.

use crate::simulation::Simulation;
use crate::step::Step;
use std::cell::{Cell, RefCell};

/// The plan, and how far it has come.
#[derive(Default)]
pub struct Interruptions {
    passed: Cell<usize>,
    plan: RefCell<Vec<(usize, Step)>>,
    busy: Cell<bool>,
}

impl Interruptions {
    /// Begins to count points at 0; each step of `plan` happens before the point beside it.
    pub fn plan(&self, plan: &[(usize, Step)]) {
        self.passed.set(0);
        *self.plan.borrow_mut() = plan.to_vec();
    }

    /// Forgets what is left of the plan. Says how many points were passed.
    pub fn clear(&self) -> usize {
        self.plan.borrow_mut().clear();
        self.passed.get()
    }
}

impl Simulation {
    /// A point. No cell of the simulation may be borrowed here.
    pub(crate) fn point(&self) {
        let interruptions = &self.interruptions;
        if interruptions.busy.replace(true) {
            // What a step itself calls is not interrupted.
            return;
        }
        let now = interruptions.passed.replace(interruptions.passed.get() + 1);
        let mut due = Vec::new();
        interruptions.plan.borrow_mut().retain(|&(point, step)| {
            if point == now {
                due.push(step);
            }
            point != now
        });
        for step in due {
            // Not possible any more, or not yet: then it does not happen.
            let _ = self.step(step);
        }
        interruptions.busy.set(false);
    }
}
