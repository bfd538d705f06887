// SPDX-License-Identifier: GPL-2.0

//! The model: the state that a choice leads to.

use crate::automaton::Automaton;
use crate::choices::Choice;
use crate::machine::{who, Machine, Part, Phase, Thread, STOPPER, WAITING};
use crate::program::{is_to_child, Kind, Programs};
use crate::refinement::Refinement;
use crate::replay::{code, Code, Reply, Seen, Site, Stack};
use crate::scenario::{Do, Scenario, ACTORS, CPUS, FUNCTIONS, THREADS};
use host_tests::script::Access;
use host_tests::tasks::TaskId;
use livepatch_core::site::{Target, View};
use std::collections::HashMap;

/// Everything that is needed to go from one state to the next.
pub struct Model {
    /// The core.
    pub core: Automaton,
    /// The parts of the core that run on tasks' behalf.
    pub programs: Programs,
    /// The scenario that is searched.
    pub scenario: Scenario,
    /// Whether there are no reductions.
    pub(crate) exact: bool,
    views: Vec<(u8, View)>,
    view_numbers: HashMap<(u8, Site), u16>,
    /// Checks each step against the proof, if asked to.
    refinement: Option<Refinement>,
}

impl Model {
    /// Creates a model of a scenario.
    ///
    /// Returns an error if the first place violates a property.
    pub fn new(scenario: &Scenario, exact: bool) -> Result<Self, String> {
        Ok(Self {
            core: Automaton::new(scenario, exact)?,
            programs: Programs::default(),
            scenario: scenario.clone(),
            exact,
            views: Vec::new(),
            view_numbers: HashMap::new(),
            refinement: None,
        })
    }

    /// Checks the first state, and from now on each step, against the proof.
    ///
    /// Returns an error if the first state is not one of the proof's.
    pub fn refine(&mut self) -> Result<(), String> {
        self.core.keep_stages();
        let mut refinement = Refinement::new(&self.scenario, &self.core.replayer.codes);
        refinement.check_first(self, &self.first())?;
        self.refinement = Some(refinement);
        Ok(())
    }

    /// Returns what was checked against the proof.
    pub fn refinement(&self) -> Option<&Refinement> {
        self.refinement.as_ref()
    }

    /// Returns the first state: all threads sleep outside of all functions, and there are no
    /// patches.
    pub fn first(&self) -> Machine {
        let mut threads = [Thread {
            part: Part::IDLE,
            present: false,
            running: false,
            at: 0,
            stack: Stack::default(),
        }; THREADS];
        for thread in threads
            .iter_mut()
            .take(self.scenario.threads.len().min(THREADS - 1))
        {
            thread.present = true;
        }
        Machine {
            core: 0,
            actors: [0; ACTORS],
            waits: 0,
            online: (1 << CPUS) - 1,
            offline: 0,
            threads,
            idles: [Part::IDLE; CPUS],
            stopper: Part::IDLE,
            looked: 0,
            looks: 0,
        }
    }

    /// Returns what others see of the core.
    pub fn seen(&self, machine: &Machine) -> &Seen {
        self.core.seen(machine.core)
    }

    /// Returns the function and the view that a handler has read.
    pub fn view(&self, number: u16) -> (u8, View) {
        self.views[usize::from(number)]
    }

    /// Takes the step `choice`, and then the core's steps that are [alone](Self::is_alone).
    ///
    /// Returns an error if one of them leads to a violation.
    pub fn step(&mut self, machine: &Machine, choice: Choice) -> Result<Machine, String> {
        let mut next = self.single_step(machine, choice)?;
        while self.is_alone(&next)? {
            next = self.single_step(&next, Choice::Core)?;
        }
        Ok(next)
    }

    /// Takes the step `choice` alone.
    ///
    /// Returns an error if it leads to a violation.
    pub fn single_step(&mut self, machine: &Machine, choice: Choice) -> Result<Machine, String> {
        let mut next = *machine;
        match choice {
            Choice::Core => self.core_step(&mut next)?,
            Choice::Begin(actor, op) => {
                next.core = self.core.begin(machine.core, op)?;
                if let Some(actor) = actor {
                    next.actors[usize::from(actor)] += 1;
                }
            }
            Choice::GoOn(who) => self.go_on(&mut next, usize::from(who))?,
            Choice::Preempt(index) => next.threads[usize::from(index)].running = false,
            Choice::Run(index) => next.threads[usize::from(index)].running = true,
            Choice::Do(index, at) => self.act(&mut next, usize::from(index), at)?,
            Choice::Loop(cpu) => self.enter(&mut next, THREADS + usize::from(cpu), Kind::Leave)?,
            Choice::Online(cpu, true) => next.online |= 1 << cpu,
            Choice::Online(cpu, false) => {
                next.online &= !(1 << cpu);
                next.offline += 1;
            }
            Choice::Look(index) => {
                next.looked = index;
                next.looks += 1;
                self.enter(&mut next, STOPPER, Kind::Look)?;
            }
        }
        // The core stops waiting for a task that has finished, whatever the task begins next.
        if next.waits != 0 {
            let busy = next.sections(|phase| phase != Phase::Free);
            next.waits &= busy | WAITING;
        }
        self.check(&next)?;
        if let Some(mut refinement) = self.refinement.take() {
            let result = refinement.check_step(self, machine, &next);
            self.refinement = Some(refinement);
            result?;
        }
        Ok(next)
    }

    pub(crate) fn core_step(&mut self, machine: &mut Machine) -> Result<(), String> {
        let Some(access) = self.core.place(machine.core).next else {
            return Err("the core is at rest".to_owned());
        };
        let waits_for = match access {
            Access::Synchronize if !self.scenario.waits => 0,
            Access::Synchronize => {
                machine.sections(|phase| phase != Phase::Free && !self.is_preemptible(phase))
            }
            _ => 0,
        };
        if machine.waits == 0 && waits_for != 0 {
            machine.waits = WAITING | waits_for;
            return Ok(());
        }
        machine.waits = 0;
        let reply = self.core_access(machine, access);
        machine.core = self.core.go_on(machine.core, reply)?;
        Ok(())
    }

    fn core_access(&self, machine: &mut Machine, access: Access) -> Reply {
        match access {
            Access::State(task) => Reply::State(machine.part(who(task)).state),
            Access::SetState(task, state) => {
                machine.part(who(task)).state = state;
                Reply::Own
            }
            Access::IsPending(task) => Reply::Flag(machine.part(who(task)).pending),
            Access::SetPending(task) => {
                machine.part(who(task)).pending = true;
                Reply::Own
            }
            Access::ClearPending(task) => {
                machine.part(who(task)).pending = false;
                Reply::Own
            }
            Access::TestAndClearPending(task) => {
                let part = machine.part(who(task));
                Reply::Flag(std::mem::take(&mut part.pending))
            }
            Access::Threads | Access::ThreadsUnlocked => Reply::Present(
                (0..)
                    .zip(&machine.threads)
                    .fold(0, |mask, (index, thread)| {
                        mask | u32::from(thread.present) << index
                    }),
            ),
            Access::Cpus => Reply::Present(u32::from(machine.online)),
            Access::Pin(TaskId::Idle(cpu)) => {
                let running =
                    machine.is_online(cpu as u8) && !machine.is_busy(&self.scenario, cpu as u8);
                Reply::Pinned(running, Stack::default())
            }
            Access::Pin(task) => {
                let thread = &machine.threads[who(task)];
                // The stack of a running thread is not looked at.
                let stack = if thread.running {
                    Stack::default()
                } else {
                    thread.stack
                };
                Reply::Pinned(thread.running, stack)
            }
            _ => Reply::Own,
        }
    }

    /// Begins a part of the core, and makes its first access.
    fn enter(&mut self, machine: &mut Machine, who: usize, kind: Kind) -> Result<(), String> {
        match self.programs.begin(&mut self.core.replayer, kind)? {
            Some(number) => {
                machine.part(who).phase = Phase::Program(number);
                self.go_on(machine, who)
            }
            None => {
                self.finish(machine, who, kind);
                Ok(())
            }
        }
    }

    fn go_on(&mut self, machine: &mut Machine, who: usize) -> Result<(), String> {
        match machine.part(who).phase {
            Phase::Free => Err("the task is in the middle of nothing".to_owned()),
            Phase::Handler(number) => {
                let (function, view) = self.view(number);
                let state = machine.part(who).state;
                let target = view.choose(|| state);
                if kernel::warnings() > 0 {
                    return Err(
                        "the handler met a transition in which its task has no state".to_owned(),
                    );
                }
                machine.part(who).phase = Phase::Free;
                machine.threads[who].stack.push(match target {
                    Target::Original => function,
                    Target::Replacement(address) => code(address),
                });
                Ok(())
            }
            Phase::Program(number) => self.go_on_in(machine, who, number),
        }
    }

    fn go_on_in(
        &mut self,
        machine: &mut Machine,
        who: usize,
        mut number: u16,
    ) -> Result<(), String> {
        loop {
            let place = self.programs.place(number);
            let kind = place.kind;
            let reply = self.own_access(machine, who, place.next);
            match self
                .programs
                .after(&mut self.core.replayer, number, reply)?
            {
                None => {
                    self.finish(machine, who, kind);
                    return Ok(());
                }
                Some(next) => number = next,
            }
            machine.part(who).phase = Phase::Program(number);
            // The task alone changes its stack, so the stack can be read at once. Nobody else sees
            // the child, so it can be written at once.
            let next = self.programs.place(number).next;
            let own = matches!(next, Access::Pin(_)) || is_to_child(next);
            if kind == Kind::Look || !own {
                return Ok(());
            }
        }
    }

    fn own_access(&self, machine: &mut Machine, who: usize, access: Access) -> Reply {
        let seen = self.core.seen(machine.core);
        let (target, check) = (seen.target, seen.check);
        let whose = match who {
            STOPPER => usize::from(machine.looked),
            _ if is_to_child(access) => THREADS - 1,
            _ => who,
        };
        let (running, stack) = match machine.threads.get(whose) {
            Some(thread) if who != STOPPER => (false, thread.stack),
            Some(thread) if !thread.running => (false, thread.stack),
            Some(_) => (true, Stack::default()),
            None => (false, Stack::default()),
        };
        let part = machine.part(whose);
        match access {
            Access::Target => Reply::State(target),
            Access::Check => Reply::Check(check),
            Access::State(_) => Reply::State(part.state),
            Access::SetState(_, state) => {
                part.state = state;
                Reply::Own
            }
            Access::IsPending(_) => Reply::Flag(part.pending),
            Access::SetPending(_) => {
                part.pending = true;
                Reply::Own
            }
            Access::ClearPending(_) => {
                part.pending = false;
                Reply::Own
            }
            Access::TestAndClearPending(_) => Reply::Flag(std::mem::take(&mut part.pending)),
            Access::Pin(_) => Reply::Pinned(running, stack),
            _ => Reply::Own,
        }
    }

    fn finish(&self, machine: &mut Machine, who: usize, kind: Kind) {
        machine.part(who).phase = Phase::Free;
        match kind {
            Kind::Leave | Kind::Look => {}
            Kind::Switch => machine.threads[who].running = false,
            Kind::Fork => machine.threads[THREADS - 1].present = true,
        }
    }

    fn act(&mut self, machine: &mut Machine, index: usize, at: u8) -> Result<(), String> {
        let item = self.item(index, at);
        machine.threads[index].at = self.after(index, at);
        match item {
            Do::Call(function) => self.call(machine, index, function),
            Do::Return => machine.threads[index].stack.pop(),
            Do::Sleep if self.seen(machine).scheduler => {
                return self.enter(machine, index, Kind::Switch)
            }
            Do::Sleep | Do::Preempted => machine.threads[index].running = false,
            Do::Leave => return self.enter(machine, index, Kind::Leave),
            Do::Fork => return self.fork(machine, index),
            Do::Exit => {
                let thread = &mut machine.threads[index];
                thread.present = false;
                thread.running = false;
                // A late look finds the thread as it was.
                if self.scenario.looks == 0 {
                    thread.part = Part::IDLE;
                }
            }
            Do::Again | Do::Maybe => {}
        }
        Ok(())
    }

    fn call(&mut self, machine: &mut Machine, index: usize, function: u8) {
        let Some(site) = self.seen(machine).sites[usize::from(function)] else {
            return machine.threads[index].stack.push(function);
        };
        let number = self
            .view_numbers
            .entry((function, site))
            .or_insert_with(|| {
                self.views.push((function, site.0));
                u16::try_from(self.views.len() - 1).expect("few views")
            });
        machine.threads[index].part.phase = Phase::Handler(*number);
    }

    fn fork(&mut self, machine: &mut Machine, parent: usize) -> Result<(), String> {
        machine.threads[THREADS - 1] = Thread {
            part: Part {
                // The flag that was copied with the parent may be stale. It must not matter, so it
                // is wrong here.
                pending: !machine.threads[parent].part.pending,
                ..Part::IDLE
            },
            present: false,
            running: false,
            at: 0,
            stack: Stack::default(),
        };
        self.enter(machine, parent, Kind::Fork)
    }

    /// Whether a task is in a fork, and so holds `tasklist_lock`.
    pub(crate) fn is_fork(&self, phase: Phase) -> bool {
        matches!(phase, Phase::Program(number) if self.programs.place(number).kind == Kind::Fork)
    }

    /// Whether a thread is in a fork.
    pub(crate) fn is_forking(&self, machine: &Machine) -> bool {
        let mut threads = machine.threads.iter();
        threads.any(|thread| self.is_fork(thread.part.phase))
    }

    /// Whether a task in the middle of something may be preempted there. Preemption does not move
    /// it: the scheduler tries to move only tasks that go to sleep.
    pub(crate) fn is_preemptible(&self, phase: Phase) -> bool {
        !self.scenario.preemption_off && self.is_fork(phase)
    }

    /// Returns the function that some code is a version of.
    pub fn function(&self, code: Code) -> u8 {
        self.core.replayer.codes[usize::from(code)].1
    }

    /// Returns the name of some code.
    pub fn name(&self, code: Code) -> String {
        let (owner, function) = &self.core.replayer.codes[usize::from(code)];
        let name = FUNCTIONS[usize::from(*function)].1;
        match owner {
            None => format!("{name}()"),
            Some(owner) => format!("{owner}'s {name}()"),
        }
    }
}
