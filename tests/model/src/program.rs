// SPDX-License-Identifier: GPL-2.0

//! What the core does on a task's behalf, access by access. It runs as the task leaves for user
//! mode or goes through the idle loop, as the scheduler switches away from it, and as it forks. A
//! CPU's stopper runs it for a task too.
//!
//! As in [`crate::replay`], the code is the core's, and a place in it is a list of answers.

use crate::replay::{Replayer, Reply};
use crate::scenario::THREADS;
use host_tests::script::Access;
use host_tests::simulation::Simulation;
use host_tests::tasks::{SimulatedTask, TaskId};
use livepatch_core::task::{State, Tasks};
use livepatch_core::transition::{switch_if_pending, Way};
use std::collections::HashMap;

/// The part of the core that runs.
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

/// A place in a program.
pub struct Place {
    /// The part of the core.
    pub kind: Kind,
    tape: Vec<Reply>,
    /// The next access.
    pub next: Access,
    after: HashMap<Reply, Option<u16>>,
}

impl Place {
    /// Returns the stack check that the program has got. It holds the check until it ends: after
    /// the look at the stack, it moves the task or reads the name of the function it is inside of.
    pub fn holds(&self) -> Option<u16> {
        self.tape.iter().find_map(|reply| match reply {
            Reply::Check(check) => *check,
            _ => None,
        })
    }

    /// Whether the program has asked for the stack check.
    pub fn has_asked_for_check(&self) -> bool {
        let mut replies = self.tape.iter();
        replies.any(|reply| matches!(reply, Reply::Check(_)))
    }

    /// Returns the first state that the program has read: the target, unless it is a fork.
    pub fn goal(&self) -> Option<State> {
        self.tape.iter().find_map(|reply| match reply {
            Reply::State(state) => Some(*state),
            _ => None,
        })
    }

    /// Whether the stopper keeps the thread that it looks at pinned.
    pub fn pins(&self) -> bool {
        let pinned = self
            .tape
            .iter()
            .any(|reply| matches!(reply, Reply::Pinned(..)));
        self.kind == Kind::Look && pinned && !self.names()
    }

    /// Whether it has found the task inside a function and is going to name it.
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

/// The task that stands for all tasks.
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
    /// Returns a place.
    pub fn place(&self, number: u16) -> &Place {
        &self.places[usize::from(number)]
    }

    /// Returns the first place of a program. `None`: it ends without an access.
    ///
    /// Returns an error if the core or the simulation objects.
    pub fn begin(&mut self, replayer: &mut Replayer, kind: Kind) -> Result<Option<u16>, String> {
        self.number(replayer, kind, Vec::new())
    }

    /// Returns the place after `number`, where the access yielded `reply`. `None`: the program has
    /// ended.
    ///
    /// Returns an error if the core or the simulation objects.
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
        // In a scenario that leaves preemption on, this evidence proves nothing.
        let off = simulation.preemption_off();
        let job = || match kind {
            Kind::Leave => {
                simulation.shared().update(&task, &off);
            }
            Kind::Switch => switch_if_pending(&simulation, &task, &off, Way::Scheduler),
            Kind::Look => switch_if_pending(&simulation, &task, &off, Way::Stopper),
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
