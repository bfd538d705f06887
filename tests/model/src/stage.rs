// SPDX-License-Identifier: GPL-2.0

//! How far the core is, in the terms of `tests/invariant/transition.inv`.
//!
//! Nothing that others can see says this, so it is derived from the core's accesses: each of them
//! may lead from one stage to the next.

use crate::machine::who;
use crate::replay::{Reply, Seen};
use crate::scenario::THREADS;
use host_tests::script::Access;
use livepatch_core::task::State;

/// How far a transition is. The names are those of the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is none.
    #[default]
    Rest,
    /// The tasks get their states, then the sites show the transition.
    Giving,
    /// The flags are set.
    Flagging,
    /// The tasks move.
    Moving,
    /// The flags are cleared, then the core waits.
    Halting,
    /// Nothing moves tasks any more.
    Halted,
    /// The sites are settled, then the core waits.
    Ending,
    /// The states become idle.
    Idling,
}

/// How far a walk through all tasks is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Walk {
    /// It has not begun.
    #[default]
    Before,
    /// It holds the lock of the thread list.
    Threads,
    /// It has passed all threads.
    After,
}

/// What the core is about to do with a task that it moves itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Own {
    /// There is no such task.
    #[default]
    Free,
    /// The task is in no function that changes.
    Safe(usize),
    /// Its flag is cleared.
    Cleared(usize),
    /// Its flag is cleared, since the transition is forced.
    Forcing(usize),
}

/// How far the core is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stage {
    /// How far the transition is.
    pub phase: Phase,
    /// How far the walk is.
    pub walk: Walk,
    /// The tasks that the walk has passed, a bit for each. Once it has passed all threads, this is
    /// about the idle tasks only.
    pub walked: u8,
    /// The threads that there are during the walk.
    present: u32,
    /// The task that the core moves.
    pub own: Own,
    /// Whether the transition is being forced right now.
    pub forcing: bool,
    /// Whether a transition was forced.
    pub forced: bool,
    /// The stack check whose memory may be in use.
    pub lent: Option<u16>,
}

impl Stage {
    /// Returns the stage after an access which yielded `reply`. Then comes the access `next`, and
    /// others see `seen`.
    pub fn after(
        mut self,
        access: Access,
        reply: Reply,
        next: Option<Access>,
        seen: &Seen,
    ) -> Self {
        match access {
            Access::SetTarget(target) => self.set_target(target),
            Access::Threads => {
                if self.phase == Phase::Giving && self.walk == Walk::After {
                    self.phase = Phase::Flagging;
                }
                self.begin_walk(Walk::Threads);
                if let Reply::Present(present) = reply {
                    self.present = present;
                }
            }
            Access::ThreadsUnlocked => self.begin_walk(Walk::Before),
            Access::Scheduler(true) if self.phase == Phase::Flagging => self.enter(Phase::Moving),
            Access::Scheduler(false) if self.phase == Phase::Moving => self.enter(Phase::Ending),
            Access::Synchronize => {
                match self.phase {
                    Phase::Halting => self.enter(Phase::Halted),
                    Phase::Ending => self.enter(Phase::Idling),
                    _ => {}
                }
                self.lent = None;
            }
            Access::State(task) => self.state(who(task), reply, next, seen.target),
            Access::SetPending(task) => self.pass(who(task)),
            Access::SetState(task, _) => match std::mem::take(&mut self.own) {
                Own::Forcing(_) => {}
                _ => self.pass(who(task)),
            },
            Access::Pin(task) => {
                let again = next == Some(Access::State(task));
                self.own = if again {
                    Own::Safe(who(task))
                } else {
                    Own::Free
                };
            }
            Access::ClearPending(task) => self.clear(who(task)),
            Access::TestAndClearPending(task) if reply == Reply::Flag(true) => {
                (self.forcing, self.forced) = (true, true);
                self.own = Own::Forcing(who(task));
            }
            _ => {}
        }
        if self.walk == Walk::Threads && !seen.locked.0 {
            self.end_walk();
        }
        self.lent = seen.check.or(self.lent);
        self
    }

    /// Returns the stage after the end of an operation.
    pub fn at_end(mut self, forced: bool) -> Self {
        if self.phase == Phase::Moving {
            self.begin_walk(Walk::Before);
        }
        (self.forcing, self.forced) = (false, forced);
        self.present = 0;
        self
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.begin_walk(Walk::Before);
    }

    fn begin_walk(&mut self, walk: Walk) {
        (self.walk, self.walked) = (walk, 0);
    }

    fn end_walk(&mut self) {
        // An attempt may leave threads behind. Other walks have something to do with each thread.
        let all = self.present & !u32::from(self.walked) == 0;
        let walk = if self.phase == Phase::Moving && !all {
            Walk::Before
        } else {
            Walk::After
        };
        self.begin_walk(walk);
        self.present = 0;
    }

    fn pass(&mut self, who: usize) {
        if self.walk == Walk::Threads || self.walk == Walk::After && who >= THREADS {
            self.walked |= 1 << who;
        }
    }

    fn set_target(&mut self, target: State) {
        match (self.phase, target) {
            (Phase::Rest, State::Patched | State::Unpatched) => self.enter(Phase::Giving),
            (Phase::Halted, State::Patched | State::Unpatched) => self.enter(Phase::Flagging),
            (Phase::Idling, State::Idle) => self.enter(Phase::Rest),
            _ => {}
        }
    }

    fn state(&mut self, who: usize, reply: Reply, next: Option<Access>, target: State) {
        let clears = matches!(next, Some(Access::ClearPending(task)) if self::who(task) == who);
        match self.phase {
            Phase::Flagging | Phase::Moving if reply == Reply::State(target) => {
                self.own = Own::Free;
                self.pass(who);
            }
            // The CPU of this idle task is offline.
            Phase::Moving if clears => self.own = Own::Safe(who),
            _ => {}
        }
    }

    fn clear(&mut self, who: usize) {
        if self.own == Own::Safe(who) {
            self.own = Own::Cleared(who);
            return;
        }
        if self.phase == Phase::Moving {
            self.phase = Phase::Halting;
            self.walked = 0;
        }
        self.pass(who);
    }
}
