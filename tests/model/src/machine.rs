// SPDX-License-Identifier: GPL-2.0

//! The machine: tasks and CPUs beside the core.
//!
//! A [`Machine`] is one state of the whole, the core's place included. It is small and copied freely.
//!
//! A thread outside of all functions may be in user mode or in the kernel: what it can do next is the
//! same. So that is one state, and to [leave](crate::scenario::Do::Leave) is to pass through user mode.

use crate::automaton::Number;
use crate::replay::Stack;
use crate::scenario::{Scenario, ACTORS, CPUS, THREADS};
use host_tests::tasks::TaskId;
use livepatch_core::transition::State;

/// What a task is in the middle of, with preemption off; in a fork too, unless the scenario is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Free,
    /// The handler has read a site.
    Handler(u16),
    /// A part of the core, on its own behalf.
    Program(u16),
}

impl Phase {
    fn bytes(self) -> [u8; 3] {
        let (kind, number) = match self {
            Self::Free => (0, 0),
            Self::Handler(number) => (1, number),
            Self::Program(number) => (2, number),
        };
        let [low, high] = number.to_le_bytes();
        [kind, low, high]
    }
}

/// What the core sees of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its state.
    pub state: State,
    /// Its pending flag.
    pub pending: bool,
    /// What it is in the middle of.
    pub phase: Phase,
}

impl Part {
    /// Of a task while there is no transition.
    pub(crate) const IDLE: Self = Self {
        state: State::Idle,
        pending: false,
        phase: Phase::Free,
    };

    fn bytes(self) -> [u8; 4] {
        let [kind, low, high] = self.phase.bytes();
        let state = (self.state.to_raw() + 1) as u8;
        [
            state << 4 | u8::from(self.pending) << 3 | kind,
            low,
            high,
            0,
        ]
    }
}

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its part in the transition.
    pub part: Part,
    /// Whether it exists.
    pub present: bool,
    /// Whether it has its CPU.
    pub running: bool,
    /// Its place in its script.
    pub at: u8,
    /// What it is inside of.
    pub stack: Stack,
}

/// A state of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The core's place.
    pub core: Number,
    /// How far the administrators are.
    pub actors: [u8; ACTORS],
    /// The tasks that the core waits for, a bit for each, and [`WAITING`].
    pub waits: u8,
    /// The CPUs that are online, a bit for each.
    pub online: u8,
    /// How often a CPU went off.
    pub offline: u8,
    /// The threads.
    pub threads: [Thread; THREADS],
    /// The idle tasks.
    pub idles: [Part; CPUS],
    /// What the stopper is in the middle of; its state is of no interest.
    pub stopper: Part,
    /// The thread that it looks at.
    pub looked: u8,
    /// How often one began to look.
    pub looks: u8,
}

/// The place of the stopper behind all tasks, see [`Machine::part`].
pub const STOPPER: usize = THREADS + CPUS;

/// The core has begun to wait.
pub const WAITING: u8 = 0x80;

impl Machine {
    /// All of it, in few bytes.
    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&self.core.to_le_bytes());
        put(&self.actors);
        put(&[self.waits, self.online, self.offline]);
        for thread in &self.threads {
            put(&thread.part.bytes()[..3]);
            let flags = u8::from(thread.present) | u8::from(thread.running) << 1;
            put(&[flags, thread.at]);
            put(&thread.stack.bytes());
        }
        for idle in &self.idles {
            put(&idle.bytes()[..3]);
        }
        put(&self.stopper.bytes()[..3]);
        put(&[self.looked, self.looks]);
        bytes
    }

    /// Whether a thread is running on a CPU.
    pub(crate) fn is_busy(&self, scenario: &Scenario, cpu: u8) -> bool {
        let mut threads = self.threads.iter().zip(&scenario.threads);
        threads.any(|(thread, own)| thread.present && thread.running && own.cpu == cpu)
    }

    /// Whether a CPU is online.
    pub(crate) fn is_online(&self, cpu: u8) -> bool {
        self.online & 1 << cpu != 0
    }

    /// Whether the stopper is in the middle of looking at a task.
    pub(crate) fn is_looked_at(&self, who: usize) -> bool {
        self.stopper.phase != Phase::Free && usize::from(self.looked) == who
    }

    /// A task's part in the transition, or the stopper's.
    pub fn part(&mut self, who: usize) -> &mut Part {
        match who.checked_sub(THREADS) {
            None => &mut self.threads[who].part,
            Some(CPUS) => &mut self.stopper,
            Some(cpu) => &mut self.idles[cpu],
        }
    }

    /// The tasks that are in the middle of something.
    pub(crate) fn sections(&self, of: impl Fn(Phase) -> bool) -> u8 {
        let threads = self.threads.iter().map(|thread| thread.part.phase);
        let phases = threads.chain(self.idles.iter().map(|idle| idle.phase));
        (0..)
            .zip(phases.chain([self.stopper.phase]))
            .filter(|&(_, phase)| of(phase))
            .fold(0, |mask, (who, _)| mask | 1 << who)
    }
}

/// The place of a task among [`Machine::threads`], and behind them the idle ones.
pub fn who(task: TaskId) -> usize {
    match task {
        TaskId::Thread(number) => number - 1,
        TaskId::Idle(cpu) => THREADS + cpu as usize,
    }
}
