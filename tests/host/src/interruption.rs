// SPDX-License-Identifier: GPL-2.0

//! Interruptions: what other CPUs do while the core is in the middle of an operation.
//!
//! Each call of the core into the simulation is a *point*. A plan says which steps happen before
//! which point. So tests explore how the core interleaves with the tasks, one interleaving at a
//! time and repeatably, without threads. loom covers what the hardware may reorder within a step.

use crate::simulation::Simulation;
use crate::step::Step;
use std::cell::{Cell, RefCell};

/// The plan, and the number of points passed.
#[derive(Default)]
pub struct Interruptions {
    passed: Cell<usize>,
    plan: RefCell<Vec<(usize, Step)>>,
    busy: Cell<bool>,
}

impl Interruptions {
    /// Starts to count points at 0. Each step of `plan` happens before the point next to it.
    pub fn plan(&self, plan: &[(usize, Step)]) {
        self.passed.set(0);
        *self.plan.borrow_mut() = plan.to_vec();
    }

    /// Forgets the rest of the plan. Returns the number of points passed.
    pub fn clear(&self) -> usize {
        self.plan.borrow_mut().clear();
        self.passed.get()
    }
}

impl Simulation {
    /// Passes a point. No cell of the simulation may be borrowed here.
    pub(crate) fn point(&self) {
        let interruptions = &self.interruptions;
        if interruptions.busy.replace(true) {
            // Calls from within a step are not interrupted.
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
            // A step that is not possible at this point is skipped.
            let _ = self.step(step);
        }
        interruptions.busy.set(false);
    }
}
