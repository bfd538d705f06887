// SPDX-License-Identifier: GPL-2.0

//! Routines: what tests do over and over, with the invariants checked at each step.

use crate::recipe::Recipe;
use crate::structures::PatchId;
use crate::tasks::{SimulatedTask, TaskId};
use crate::world::World;
use std::rc::Rc;

impl World {
    /// Waits for the transition to end.
    ///
    /// # Panics
    ///
    /// Panics where it does not.
    pub fn wait(&mut self) {
        for _ in 0..40 {
            self.check();
            if self.settle() {
                return self.check();
            }
        }
        panic!("the transition does not end");
    }

    /// Lets all tasks move that can; the transition does not end.
    ///
    /// # Panics
    ///
    /// Panics where it does.
    pub fn wait_stuck(&mut self) {
        for _ in 0..3 {
            assert!(!self.settle(), "the transition ended");
            self.check();
        }
    }

    /// Loads a livepatch and waits for its transition.
    ///
    /// # Panics
    ///
    /// Panics where it is refused, or does not get there.
    pub fn load(&mut self, recipe: &Recipe) -> PatchId {
        let patch = self.insmod(recipe).expect("the patch is enabled");
        self.wait();
        patch
    }

    /// Disables a livepatch, waits for its transition, and unloads it.
    ///
    /// # Panics
    ///
    /// Panics where that can't be done.
    pub fn unload(&mut self, patch: PatchId) {
        self.write_enabled(patch, "0")
            .expect("the patch is disabled");
        self.wait();
        self.run_deferred();
        self.rmmod(patch).expect("nobody needs the module");
        self.check();
    }

    /// The thread with this number, from 1.
    ///
    /// # Panics
    ///
    /// Panics where there is none.
    pub fn thread(&self, number: usize) -> Rc<SimulatedTask> {
        self.kernel
            .machine
            .task(TaskId::Thread(number))
            .expect("a thread")
    }
}
