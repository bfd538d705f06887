// SPDX-License-Identifier: GPL-2.0

//! The machine: the tasks and CPUs around the core.
//!
//! A [`Machine`] is one state of everything, including the core's place. It is small and cheap to
//! copy.
//!
//! A thread outside of all functions may be in user mode or in the kernel. Both are one state,
//! since what it can do next is the same. To [leave](crate::scenario::Do::Leave) is to pass through
//! user mode.

use crate::automaton::Number;
use crate::replay::Stack;
use crate::scenario::{Scenario, ACTORS, CPUS, THREADS};
use host_tests::tasks::TaskId;
use livepatch_core::task::State;

/// What a task is in the middle of. Preemption is off then, and in a fork too, unless the scenario
/// leaves that out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Free,
    /// The handler has read a site.
    Handler(u16),
    /// A part of the core that runs on the task's behalf.
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
    /// The part of a task while there is no transition.
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
    /// Whether it is running on its CPU.
    pub running: bool,
    /// Its position in its script.
    pub at: u8,
    /// The functions that it is in.
    pub stack: Stack,
}

/// A state of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The core's place.
    pub core: Number,
    /// How many of its operations each actor has begun.
    pub actors: [u8; ACTORS],
    /// The tasks that the core waits for, a bit for each, and [`WAITING`].
    pub waits: u8,
    /// The CPUs that are online, a bit for each.
    pub online: u8,
    /// The number of times that a CPU went offline.
    pub offline: u8,
    /// The threads.
    pub threads: [Thread; THREADS],
    /// The idle tasks.
    pub idles: [Part; CPUS],
    /// What the stopper is in the middle of. Its state is not used.
    pub stopper: Part,
    /// The thread that the stopper looks at.
    pub looked: u8,
    /// The number of looks that the stopper has begun.
    pub looks: u8,
}

/// The index of the stopper, behind all tasks; see [`Machine::part`].
pub const STOPPER: usize = THREADS + CPUS;

/// The bit of [`Machine::waits`] which says that the core has begun to wait.
pub const WAITING: u8 = 0x80;

impl Machine {
    /// Returns the whole state in a few bytes.
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

    /// Returns the part of a task, or that of the stopper.
    pub fn part(&mut self, who: usize) -> &mut Part {
        match who.checked_sub(THREADS) {
            None => &mut self.threads[who].part,
            Some(CPUS) => &mut self.stopper,
            Some(cpu) => &mut self.idles[cpu],
        }
    }

    /// Returns the tasks, and the stopper, whose phase satisfies `of`, a bit for each.
    pub(crate) fn sections(&self, of: impl Fn(Phase) -> bool) -> u8 {
        let threads = self.threads.iter().map(|thread| thread.part.phase);
        let phases = threads.chain(self.idles.iter().map(|idle| idle.phase));
        (0..)
            .zip(phases.chain([self.stopper.phase]))
            .filter(|&(_, phase)| of(phase))
            .fold(0, |mask, (who, _)| mask | 1 << who)
    }
}

/// Returns the index of a task. The threads come first, as in [`Machine::threads`], then the idle
/// tasks.
pub fn who(task: TaskId) -> usize {
    match task {
        TaskId::Thread(number) => number - 1,
        TaskId::Idle(cpu) => THREADS + cpu as usize,
    }
}
