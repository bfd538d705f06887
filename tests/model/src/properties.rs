// SPDX-License-Identifier: GPL-2.0

//! Properties that hold in every state, and the way home.
//!
//! The core's books change only with the core's own steps. [`crate::books`] checks them.

use crate::choices::Choice;
use crate::machine::{Machine, Phase, Thread, STOPPER};
use crate::model::Model;
use crate::replay::{address, code, Code, Seen, Site};
use crate::scenario::{Op, FUNCTIONS, THREADS};
use crate::words::task;
use livepatch_core::site::{Target, View};
use livepatch_core::task::State;

impl Model {
    /// Checks the properties of a state.
    pub(crate) fn check(&self, machine: &Machine) -> Result<(), String> {
        let seen = self.seen(machine);
        let forced =
            self.core.books(machine.core).forced || self.core.op(machine.core) == Some(Op::Force);
        for site in seen.sites.iter().flatten() {
            for state in [State::Patched, State::Unpatched] {
                let target = site.0.choose(|| state);
                if let Target::Replacement(address) = target {
                    if seen.gone & 1 << code(address) != 0 {
                        return Err(format!(
                            "calls are still sent to {}, which was given up",
                            self.name(code(address))
                        ));
                    }
                }
            }
        }
        if self.core.place(machine.core).next.is_none() {
            self.check_flags(machine, seen)?;
        }
        self.check_phase(seen, STOPPER, machine.stopper.phase)?;
        for (index, thread) in machine.threads.iter().enumerate() {
            if !thread.present {
                continue;
            }
            for &code in thread.stack.codes() {
                if seen.gone & 1 << code != 0 {
                    return Err(format!(
                        "task{} is in {}, which was given up",
                        index + 1,
                        self.name(code)
                    ));
                }
                if !forced {
                    self.check_universe(seen, index, thread, code)?;
                }
            }
            self.check_phase(seen, index, thread.part.phase)?;
        }
        Ok(())
    }

    /// Checks that between the core's operations exactly the tasks that have not moved are pending.
    /// Each of them moves when it leaves the kernel.
    fn check_flags(&self, machine: &Machine, seen: &Seen) -> Result<(), String> {
        let threads = machine.threads.iter().enumerate();
        let threads = threads.filter(|(_, thread)| thread.present);
        let idles = (THREADS..).zip(&machine.idles);
        let parts = threads
            .map(|(who, thread)| (who, thread.part))
            .chain(idles.map(|(who, idle)| (who, *idle)));
        for (who, part) in parts {
            let stray = (part.state == State::Idle) != (seen.target == State::Idle);
            let flag = part.pending == (part.state != seen.target);
            // A task in the middle of moving has already changed one of the two.
            let still = part.phase == Phase::Free || self.is_fork(part.phase);
            if still && !machine.is_looked_at(who) && (stray || !flag) {
                return Err(format!(
                    "{} is {:?} and {}pending while the tasks are to be {:?}",
                    task(who),
                    part.state,
                    if part.pending { "" } else { "not " },
                    seen.target
                ));
            }
        }
        Ok(())
    }

    /// Checks that a task is only in versions that its state lets it call.
    fn check_universe(
        &self,
        seen: &Seen,
        index: usize,
        thread: &Thread,
        code: Code,
    ) -> Result<(), String> {
        let function = self.function(code);
        let allowed = match (seen.sites[usize::from(function)], thread.part.state) {
            (None, _) => Target::Original,
            (Some(Site(View::Settled(target))), _) => target,
            (Some(Site(View::InTransition { newest, .. })), State::Patched) => newest,
            (Some(Site(View::InTransition { below, .. })), State::Unpatched) => below,
            (Some(Site(View::InTransition { .. })), State::Idle) => {
                return Err(format!(
                    "task{} is in {} during a transition and has no state",
                    index + 1,
                    self.name(code)
                ))
            }
        };
        let own = if usize::from(code) < FUNCTIONS.len() {
            Target::Original
        } else {
            Target::Replacement(address(code))
        };
        if own != allowed {
            return Err(format!(
                "task{} ({:?}) is in {}: a version of the other universe",
                index + 1,
                thread.part.state,
                self.name(code)
            ));
        }
        Ok(())
    }

    fn check_phase(&self, seen: &Seen, who: usize, phase: Phase) -> Result<(), String> {
        match phase {
            Phase::Free => Ok(()),
            Phase::Handler(view) => {
                let (function, _) = self.view(view);
                if !seen.hooks[usize::from(function)] {
                    return Err(format!(
                        "the site that the handler of {} uses is gone",
                        task(who)
                    ));
                }
                Ok(())
            }
            Phase::Program(number) => match self.programs.place(number).holds() {
                Some(check) if seen.check != Some(check) && !seen.old_checks => {
                    Err(format!("the stack check that {} uses is gone", task(who)))
                }
                _ => Ok(()),
            },
        }
    }

    /// Whether an operation or a transition is going on.
    pub fn is_moving(&self, machine: &Machine) -> bool {
        self.core.op(machine.core).is_some() || self.core.books(machine.core).transition.is_some()
    }

    /// Returns the index in `choices` of the next step on the way home. On this way every task
    /// leaves the functions and the kernel, and nothing new is asked for.
    pub fn home(&self, machine: &Machine, choices: &[Choice]) -> Option<usize> {
        let target = self.seen(machine).target;
        let behind = |index: u8| machine.threads[usize::from(index)].part.state != target;
        // The core moves tasks that sleep outside of all functions.
        let needs_cpu = |index: u8| {
            let thread = &machine.threads[usize::from(index)];
            let preempted = thread.part.phase != Phase::Free;
            let behind = behind(index) && !thread.stack.codes().is_empty();
            thread.present && !thread.running && (preempted || behind)
        };
        let wanted = |cpu: u8| {
            let threads = (0..).zip(&self.scenario.threads);
            threads
                .into_iter()
                .any(|(index, own)| own.cpu == cpu && needs_cpu(index))
        };
        let rank = |choice: &Choice| match *choice {
            Choice::Core => Some(0),
            Choice::GoOn(_) => Some(1),
            Choice::Loop(_) => Some(2),
            Choice::Do(index, _) if behind(index) => Some(3),
            Choice::Run(index) if needs_cpu(index) => Some(4),
            Choice::Do(index, _) if wanted(self.scenario.threads[usize::from(index)].cpu) => {
                Some(5)
            }
            Choice::Online(cpu, true) if wanted(cpu) => Some(6),
            Choice::Begin(None, _) => Some(7),
            _ => None,
        };
        let ranked = choices
            .iter()
            .enumerate()
            .filter_map(|(index, choice)| Some((rank(choice)?, index)));
        ranked.min().map(|(_, index)| index)
    }
}
