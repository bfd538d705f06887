// SPDX-License-Identifier: GPL-2.0

//! Routines that many tests share. They check the invariants at each step.

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
    /// Panics if it does not end.
    pub fn wait(&mut self) {
        for _ in 0..40 {
            self.check();
            if self.settle() {
                return self.check();
            }
        }
        panic!("the transition does not end");
    }

    /// Lets all tasks move that can. The transition must not end.
    ///
    /// # Panics
    ///
    /// Panics if it ends.
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
    /// Panics if the livepatch is refused or its transition does not end.
    pub fn load(&mut self, recipe: &Recipe) -> PatchId {
        let patch = self.insmod(recipe).expect("the patch is enabled");
        self.wait();
        patch
    }

    /// Disables a livepatch, waits for its transition, and unloads it.
    ///
    /// # Panics
    ///
    /// Panics if one of these steps fails.
    pub fn unload(&mut self, patch: PatchId) {
        self.write_enabled(patch, "0")
            .expect("the patch is disabled");
        self.wait();
        self.run_deferred();
        self.rmmod(patch).expect("nobody needs the module");
        self.check();
    }

    /// Returns the thread with this number. Numbers start at 1.
    ///
    /// # Panics
    ///
    /// Panics if there is no such thread.
    pub fn thread(&self, number: usize) -> Rc<SimulatedTask> {
        self.kernel
            .machine
            .task(TaskId::Thread(number))
            .expect("a thread")
    }
}
