// SPDX-License-Identifier: GPL-2.0

//! Reduction: a step of the core that nobody can notice is taken at once.

use crate::machine::{who, Machine, Phase};
use crate::model::Model;
use crate::replay::Seen;
use crate::scenario::{Do, THREADS};
use host_tests::script::Access;
use livepatch_core::site::View;

impl Model {
    /// Whether the core's next access can be taken at once.
    ///
    /// It can if it is independent of all that others do before the core's access after it, and if
    /// it changes nothing that a property is about. Whatever the others do can then as well happen
    /// after it, so the search follows only the core.
    ///
    /// This includes an access to a task that only the core can change now: the task is not pending
    /// and not in the middle of moving. The access must not matter to the task's calls either: no
    /// function that the task meets is in transition. The core makes only finitely many such
    /// accesses in a row, so nobody waits for ever.
    ///
    /// Returns an error if the access leads to a violation.
    pub fn is_alone(&mut self, machine: &Machine) -> Result<bool, String> {
        if self.exact {
            return Ok(false);
        }
        let Some(access) = self.core.place(machine.core).next else {
            return Ok(false);
        };
        let (task, reads) = match access {
            Access::State(task) | Access::IsPending(task) => (who(task), true),
            Access::SetState(task, _) => (who(task), false),
            _ => return Ok(false),
        };
        let mut after = *machine;
        let part = *after.part(task);
        let in_transition = |view: View| matches!(view, View::InTransition { .. });
        let still = match part.phase {
            _ if machine.is_looked_at(task) => false,
            Phase::Free => true,
            Phase::Handler(view) => reads || !in_transition(self.view(view).1),
            Phase::Program(_) => false,
        };
        let seen = self.seen(machine);
        // Without the lock, a fork would read the task's part.
        let locked = seen.locked.0 || task >= THREADS;
        let unseen = reads
            || (locked
                && !seen
                    .sites
                    .iter()
                    .flatten()
                    .any(|site| in_transition(site.0)));
        if part.pending || !still || !unseen {
            return Ok(false);
        }
        self.core_step(&mut after)?;
        let next = self.seen(&after);
        let seen = self.seen(machine);
        // The lock matters to forks and exits, which may be waiting for it.
        let lock = seen.locked == next.locked || !self.may_come_or_go(machine);
        Ok(lock
            && Seen {
                locked: next.locked,
                ..seen.clone()
            } == *next)
    }

    /// Whether threads or CPUs can still come or go.
    fn may_come_or_go(&self, machine: &Machine) -> bool {
        let threads = machine.threads.iter().zip(&self.scenario.threads);
        let mut scripts = threads
            .filter(|(thread, _)| thread.present)
            .map(|(_, own)| &own.script);
        self.scenario.offline > 0
            || scripts.any(|script| {
                script
                    .iter()
                    .any(|item| matches!(item, Do::Fork | Do::Exit))
            })
    }
}
