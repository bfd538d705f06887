// SPDX-License-Identifier: GPL-2.0

//! What the core does on a task's own behalf, access by access: as it leaves for user mode or in the
//! idle loop, as the scheduler switches away from it, and as it forks; and what a CPU's stopper does for a
//! task.
//!
//! As with the core's operations, the code is the core's, and a place in it is a list of answers.

use crate::replay::{Replayer, Reply};
use crate::scenario::THREADS;
use host_tests::script::Access;
use host_tests::simulation::Simulation;
use host_tests::tasks::{SimulatedTask, TaskId};
use livepatch_core::transition::{switch_if_pending, Tasks};
use std::collections::HashMap;

/// Which part of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Shared::update`: on the way to user mode, or in the idle loop.
    Leave,
    /// `switch_if_pending`: from the scheduler.
    Switch,
    /// `Shared::copy`: a fork, with `tasklist_lock` held.
    Fork,
    /// `switch_if_pending`: from a CPU's stopper, for a thread that may be anywhere.
    Look,
}

/// A place in it.
pub struct Place {
    /// Which part.
    pub kind: Kind,
    tape: Vec<Reply>,
    /// What it does next.
    pub next: Access,
    after: HashMap<Reply, Option<u16>>,
}

impl Place {
    /// The stack check that it has got hold of, and will use.
    pub fn holds(&self) -> Option<u16> {
        match (self.next, self.tape.last()) {
            (Access::UseCheck, Some(&Reply::Check(check))) => check,
            _ => None,
        }
    }

    /// Whether it keeps the thread that it looks at as it is.
    pub fn pins(&self) -> bool {
        let pinned = self
            .tape
            .iter()
            .any(|reply| matches!(reply, Reply::Pinned(..)));
        self.kind == Kind::Look && pinned && !self.names()
    }

    /// Whether it has found a function with a stack check, and will name it.
    pub fn names(&self) -> bool {
        self.next == Access::Name
    }
}

/// All places.
#[derive(Default)]
pub struct Programs {
    places: Vec<Place>,
    numbers: HashMap<(Kind, Vec<Reply>), Option<u16>>,
}

/// The task that stands for all.
const ANY: TaskId = TaskId::Thread(1);

/// The child, which nobody else sees before it is complete.
const CHILD: TaskId = TaskId::Thread(THREADS);

/// Whether an access is to the child.
pub(crate) fn is_to_child(access: Access) -> bool {
    matches!(
        access,
        Access::SetPending(CHILD) | Access::ClearPending(CHILD) | Access::SetState(CHILD, _)
    )
}

impl Programs {
    /// A place.
    pub fn place(&self, number: u16) -> &Place {
        &self.places[usize::from(number)]
    }

    /// The first place.
    ///
    /// Errors: what the core had to say against it.
    pub fn begin(&mut self, replayer: &mut Replayer, kind: Kind) -> Result<Option<u16>, String> {
        self.number(replayer, kind, Vec::new())
    }

    /// The place after `number`, where its access yielded `reply`; `None` where it has ended.
    ///
    /// Errors: what the core had to say against it.
    pub fn after(
        &mut self,
        replayer: &mut Replayer,
        number: u16,
        reply: Reply,
    ) -> Result<Option<u16>, String> {
        let place = self.place(number);
        if let Some(&after) = place.after.get(&reply) {
            return Ok(after);
        }
        let mut tape = place.tape.clone();
        tape.push(reply);
        let after = self.number(replayer, place.kind, tape)?;
        self.places[usize::from(number)].after.insert(reply, after);
        Ok(after)
    }

    fn number(
        &mut self,
        replayer: &mut Replayer,
        kind: Kind,
        tape: Vec<Reply>,
    ) -> Result<Option<u16>, String> {
        let key = (kind, tape);
        if let Some(&number) = self.numbers.get(&key) {
            return Ok(number);
        }
        let simulation = Simulation::default();
        let own = kind != Kind::Look;
        simulation.machine.current.set(own.then_some(ANY));
        let task = SimulatedTask::new(ANY, false, false);
        let child = SimulatedTask::new(CHILD, false, false);
        // In a scenario where something must go wrong, it proves nothing.
        let off = simulation.preemption_off();
        let job = || match kind {
            Kind::Leave => simulation.shared().update(&task, &off),
            Kind::Switch | Kind::Look => switch_if_pending(&simulation, &task, &off),
            Kind::Fork => simulation.shared().copy(&task, &child, &off),
        };
        let number = replayer.run_task(job, &key.1)?.map(|next| {
            self.places.push(Place {
                kind,
                tape: key.1.clone(),
                next,
                after: HashMap::new(),
            });
            u16::try_from(self.places.len() - 1).expect("few places")
        });
        self.numbers.insert(key, number);
        Ok(number)
    }
}
