// SPDX-License-Identifier: GPL-2.0

//! Choices: everything that can happen next.

use crate::machine::{who, Machine, Phase, STOPPER, WAITING};
use crate::model::Model;
use crate::replay::{Seen, DEPTH};
use crate::scenario::{Do, Op, FUNCTIONS, THREADS};
use host_tests::script::Access;
use host_tests::tasks::TaskId;

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The core goes on with its operation.
    Core,
    /// The core begins an operation. The actor asks for it; without an actor it is the core's own
    /// retry.
    Begin(Option<u8>, Op),
    /// A task goes on with what it is in the middle of.
    GoOn(u8),
    /// A thread is preempted in the middle of something.
    Preempt(u8),
    /// A thread gets its CPU, for the first time or again.
    Run(u8),
    /// A thread does what its script says at this place.
    Do(u8, u8),
    /// An idle task goes through its loop.
    Loop(u8),
    /// A CPU goes online or offline.
    Online(u8, bool),
    /// The stopper begins to look at a thread.
    Look(u8),
}

impl Model {
    /// Collects all that can happen next.
    pub fn choices(&self, machine: &Machine, choices: &mut Vec<Choice>) {
        choices.clear();
        let seen = self.seen(machine);
        let forking = self.is_forking(machine);
        if let Some(next) = self.core.place(machine.core).next {
            let kept = match next {
                Access::Threads => forking,
                Access::Pin(task) => self.is_pinned_by_stopper(machine, who(task)),
                _ => false,
            };
            if !kept && (machine.waits == 0 || machine.waits == WAITING) {
                choices.push(Choice::Core);
            }
        } else {
            self.operations(machine, seen, choices);
        }
        for (index, thread) in machine.threads.iter().enumerate() {
            if thread.present {
                self.of_thread(machine, seen, index, choices);
            }
        }
        self.of_stopper(machine, seen, choices);
        for (cpu, idle) in (0..).zip(&machine.idles) {
            let quiet = !machine.is_busy(&self.scenario, cpu) && machine.is_online(cpu);
            // A pinned idle task does not begin to run.
            let pinned = seen.pinned == Some(TaskId::Idle(u32::from(cpu)));
            if idle.phase != Phase::Free {
                choices.push(Choice::GoOn(THREADS as u8 + cpu));
            } else if quiet && idle.pending && !pinned {
                choices.push(Choice::Loop(cpu));
            }
            let others = machine.online & !(1 << cpu) != 0;
            let off = quiet && others && machine.offline < self.scenario.offline;
            if !seen.locked.1 && idle.phase == Phase::Free {
                if off {
                    choices.push(Choice::Online(cpu, false));
                } else if !machine.is_online(cpu) {
                    choices.push(Choice::Online(cpu, true));
                }
            }
        }
    }

    /// Adds the looks of the stopper. It looks at any thread at any time, even one that has exited.
    /// The core asks for a look where it finds a thread running, and does not know when it happens.
    fn of_stopper(&self, machine: &Machine, seen: &Seen, choices: &mut Vec<Choice>) {
        match machine.stopper.phase {
            Phase::Program(number) => {
                let pins = matches!(self.programs.place(number).next, Access::Pin(_));
                let looked = TaskId::Thread(usize::from(machine.looked) + 1);
                if !pins || seen.pinned != Some(looked) {
                    choices.push(Choice::GoOn(STOPPER as u8));
                }
            }
            _ if machine.looks < self.scenario.looks => {
                let threads = 0..self.scenario.threads.len();
                choices.extend(threads.map(|index| Choice::Look(index as u8)));
            }
            _ => {}
        }
    }

    /// Whether the stopper keeps a task pinned.
    fn is_pinned_by_stopper(&self, machine: &Machine, who: usize) -> bool {
        match machine.stopper.phase {
            Phase::Program(number) => {
                machine.is_looked_at(who) && self.programs.place(number).pins()
            }
            _ => false,
        }
    }

    fn operations(&self, machine: &Machine, seen: &Seen, choices: &mut Vec<Choice>) {
        let books = self.core.books(machine.core);
        let moving = books.transition.is_some();
        for (actor, (ops, &at)) in (0..).zip(self.scenario.actors.iter().zip(&machine.actors)) {
            let Some(&op) = ops.get(usize::from(at)) else {
                continue;
            };
            let possible = match op {
                Op::Insmod(patch) => !moving && !books.stack.contains(&patch),
                Op::Disable(patch) => !moving && books.stack.contains(&patch),
                Op::Reverse | Op::Force => moving,
                Op::Late => moving && seen.retry,
                Op::Load => !books.module,
                Op::Unload => books.module && !self.is_module_used(machine),
                Op::Tick => false,
            };
            if possible {
                choices.push(Choice::Begin(Some(actor), op));
            }
        }
        if moving && seen.retry {
            choices.push(Choice::Begin(None, Op::Tick));
        }
    }

    fn is_module_used(&self, machine: &Machine) -> bool {
        let of_module = |function: u8| FUNCTIONS[usize::from(function)].0.is_some();
        machine.threads.iter().any(|thread| {
            let mut codes = thread.stack.codes().iter();
            codes.any(|&code| of_module(self.function(code)))
                || matches!(thread.part.phase, Phase::Handler(view) if of_module(self.view(view).0))
        })
    }

    fn of_thread(&self, machine: &Machine, seen: &Seen, index: usize, choices: &mut Vec<Choice>) {
        let thread = &machine.threads[index];
        let number = index as u8;
        let own = &self.scenario.threads[index];
        let phase = thread.part.phase;
        if thread.running && phase != Phase::Free {
            choices.push(Choice::GoOn(number));
            if self.is_preemptible(phase) && seen.pinned != Some(TaskId::Thread(index + 1)) {
                choices.push(Choice::Preempt(number));
            }
            return;
        }
        if !thread.running {
            let idle = &machine.idles[usize::from(own.cpu)];
            let idle_pinned = seen.pinned == Some(TaskId::Idle(u32::from(own.cpu)));
            let free = machine.is_online(own.cpu)
                && !machine.is_busy(&self.scenario, own.cpu)
                && idle.phase == Phase::Free
                && !idle_pinned
                && !self.is_pinned_by_stopper(machine, index)
                && seen.pinned != Some(TaskId::Thread(index + 1));
            if free && (phase != Phase::Free || usize::from(thread.at) < own.script.len()) {
                choices.push(Choice::Run(number));
            }
            return;
        }
        let mut at = thread.at;
        loop {
            let item = own.script.get(usize::from(at)).copied();
            let maybe = item == Some(Do::Maybe);
            if maybe {
                at += 1;
            }
            if self.can(machine, seen, index, at) {
                choices.push(Choice::Do(number, at));
            }
            if !maybe {
                break;
            }
            at = self.past(index, at);
        }
    }

    /// Returns the position in a thread's script after the item at `at`, and after the whole call
    /// if that item is one.
    fn past(&self, index: usize, mut at: u8) -> u8 {
        let mut depth = 0;
        loop {
            match self.item(index, at) {
                Do::Call(_) => depth += 1,
                Do::Return => depth -= 1,
                _ => {}
            }
            at = self.after(index, at);
            if depth == 0 {
                return at;
            }
        }
    }

    /// Returns the position in a thread's script after `at`.
    pub(crate) fn after(&self, index: usize, at: u8) -> u8 {
        let script = &self.scenario.threads[index].script;
        match script.get(usize::from(at) + 1) {
            Some(Do::Again) => 0,
            _ => (at + 1).min(script.len() as u8),
        }
    }

    /// Returns what a thread does at a position in its script.
    pub fn item(&self, index: usize, at: u8) -> Do {
        // Past its end, a thread sleeps.
        let script = &self.scenario.threads[index].script;
        script.get(usize::from(at)).copied().unwrap_or(Do::Sleep)
    }

    fn can(&self, machine: &Machine, seen: &Seen, index: usize, at: u8) -> bool {
        let thread = &machine.threads[index];
        let depth = thread.stack.codes().len();
        let locked = seen.locked.0 || self.is_forking(machine);
        match self.item(index, at) {
            Do::Call(function) => {
                let there = FUNCTIONS[usize::from(function)].0.is_none() || seen.live;
                there && depth < DEPTH
            }
            Do::Return => depth > 0,
            Do::Sleep | Do::Preempted => seen.pinned != Some(TaskId::Thread(index + 1)),
            Do::Leave => depth == 0 && !self.scenario.threads[index].kthread,
            Do::Fork => !locked && !machine.threads[THREADS - 1].present,
            Do::Exit => !locked && depth == 0,
            Do::Again | Do::Maybe => false,
        }
    }
}
