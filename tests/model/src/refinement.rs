// SPDX-License-Identifier: GPL-2.0

//! Refinement: the proof for any number of tasks (`tests/invariant`) is one about this code.
//!
//! Each state of the model is read as a state of the proof, and each of its steps as steps of the
//! proof. The invariant is evaluated in the former. The latter are looked for: either nothing
//! changes that the proof knows of, or some of its steps, in a row, lead from the one state to the
//! other.

use crate::machine::{Machine, Phase as TaskPhase, STOPPER};
use crate::model::Model;
use crate::program::{Kind, Place};
use crate::replay::code;
use crate::scenario::{Scenario, CPUS, FUNCTIONS, THREADS};
use crate::stage::{Own, Phase, Walk};
use host_tests::script::Access;
use invariant::finite::{Finite, State, UNKNOWN};
use livepatch_core::site::{Target, View};
use livepatch_core::task::State as TaskState;
use std::collections::{BTreeSet, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// The tasks: the threads, then the idle tasks.
const TASKS: usize = THREADS + CPUS;
/// The section of an attempt. Before it are those of the tasks and of the stopper.
const OWN: usize = STOPPER + 1;
/// The longest row of the proof's steps that is looked for.
const LONGEST: usize = 3;

/// What was checked against the proof, in its terms.
#[derive(Clone, Debug)]
pub struct Refined {
    /// The number of different states.
    pub states: usize,
    /// The number of different steps.
    pub steps: usize,
    /// The names of the proof's steps among them.
    pub met: BTreeSet<String>,
}

/// Checks a scenario against the proof.
pub struct Refinement {
    proof: Finite,
    /// The owner of each code: 0 for the kernel, or a patch, counted from 1.
    owners: Vec<usize>,
    /// The states in which the invariant was found to hold, by their hashes.
    states: HashSet<u128>,
    /// The pairs of states that steps were found for.
    steps: HashSet<u128>,
    /// The rows of steps that were found, by what they change.
    rows: HashMap<u64, Vec<Vec<usize>>>,
    /// The state before the last step: many steps begin there.
    last: Option<(Machine, State)>,
}

impl Refinement {
    /// Reads the proof.
    pub fn new(scenario: &Scenario, codes: &[(Option<String>, u8)]) -> Self {
        let names = scenario.patches.iter().map(|patch| patch.name.as_str());
        let names: Vec<_> = names.collect();
        let owner = |(index, (owner, _)): (usize, &(Option<String>, u8))| match owner {
            // The functions come first. Those of a module have an owner too: the module.
            Some(owner) if index >= FUNCTIONS.len() => {
                let found = names.iter().position(|name| name == owner);
                found.expect("a patch") + 1
            }
            _ => 0,
        };
        let system = invariant::transition().expect("the proof can be read");
        let sizes = [
            ("Task", TASKS),
            ("Section", OWN + 1),
            ("Function", FUNCTIONS.len()),
            ("Patch", names.len() + 1),
        ];
        Self {
            proof: Finite::new(system, &sizes),
            owners: codes.iter().enumerate().map(owner).collect(),
            states: HashSet::new(),
            steps: HashSet::new(),
            rows: HashMap::new(),
            last: None,
        }
    }

    /// Returns what was checked.
    pub fn refined(&self) -> Refined {
        let name = |&step: &usize| self.proof.system().actions[step].name.clone();
        let rows = self.rows.values().flatten();
        Refined {
            states: self.states.len(),
            steps: self.steps.len(),
            met: rows.flatten().map(name).collect(),
        }
    }

    /// Checks that the first state may be the proof's first.
    pub fn check_first(&mut self, model: &Model, machine: &Machine) -> Result<(), String> {
        let first = self.read(model, machine);
        if !self.proof.is_first(&first) {
            return Err("the first state is not one of the proof's".to_owned());
        }
        self.check(&first)
    }

    /// Checks a step: the invariant holds after it, and it is made of the proof's steps.
    pub fn check_step(
        &mut self,
        model: &Model,
        machine: &Machine,
        after: &Machine,
    ) -> Result<(), String> {
        let after = self.read(model, after);
        self.check(&after)?;
        let before = match self.last.take() {
            Some((last, state)) if last == *machine => state,
            _ => self.read(model, machine),
        };
        self.last = Some((*machine, before.clone()));
        let pair = xxh3_128(&[before.as_slice(), &after].concat());
        if self.steps.contains(&pair) {
            return Ok(());
        }
        let differences = self.proof.differences(&before, &after);
        let mut known = self.rows.get(&differences).into_iter().flatten();
        let known = known.find(|row| self.proof.follows(&before, &after, row));
        if known.is_none() {
            let row = self.proof.path(&before, &after, LONGEST);
            let row = row.ok_or_else(|| self.no_step(&before, &after))?;
            self.rows.entry(differences).or_default().push(row);
        }
        self.steps.insert(pair);
        Ok(())
    }

    fn check(&mut self, state: &State) -> Result<(), String> {
        let key = xxh3_128(state);
        if self.states.contains(&key) {
            return Ok(());
        }
        if let Some(name) = self.proof.broken(state) {
            return Err(format!("`{name}` of the proof does not hold"));
        }
        self.states.insert(key);
        Ok(())
    }

    fn no_step(&self, before: &State, after: &State) -> String {
        let differences = self.proof.differences(before, after);
        let functions = &self.proof.system().functions;
        let differ = (0..functions.len()).filter(|id| differences & 1 << id != 0);
        let names: Vec<_> = differ.map(|id| functions[id].name.as_str()).collect();
        format!("no steps of the proof change: {}", names.join(", "))
    }

    /// Reads a state of the model as one of the proof.
    fn read(&self, model: &Model, machine: &Machine) -> State {
        let mut reading = Reading {
            own: self,
            model,
            machine,
            state: self.proof.unknown(),
        };
        reading.core();
        reading.functions();
        reading.tasks();
        (0..=STOPPER).for_each(|section| reading.section(section));
        reading.attempt();
        reading.forced();
        reading.state
    }
}

/// A state that is being read.
struct Reading<'a> {
    own: &'a Refinement,
    model: &'a Model,
    machine: &'a Machine,
    state: State,
}

/// The position of a state in the proof's list of them.
fn number(state: TaskState) -> usize {
    (state.to_raw() + 1) as usize
}

/// The places of sections, in the order of the proof.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Free,
    Handler,
    Left,
    Leaving,
    Copied,
    Flagged,
    Aimed,
    Armed,
    Pinned,
    Safe,
    Naming,
    Cleared,
    Forcing,
}

impl Reading<'_> {
    fn set(&mut self, function: &str, arguments: &[usize], value: usize) {
        let place = self.own.proof.place(function, arguments);
        self.state[place] = value as u8;
    }

    fn flag(&mut self, function: &str, arguments: &[usize], value: bool) {
        self.set(function, arguments, usize::from(value));
    }

    /// Makes all values false.
    fn none(&mut self, function: &str) {
        let values = self.own.proof.values(function);
        self.state[values].fill(0);
    }

    /// Returns the owner of the version that a call is sent to.
    fn owner(&self, target: Target) -> usize {
        match target {
            Target::Original => 0,
            Target::Replacement(address) => self.own.owners[usize::from(code(address))],
        }
    }

    fn core(&mut self) {
        let stage = self.model.core.stage(self.machine.core);
        let seen = self.model.seen(self.machine);
        self.set("own", &[], OWN);
        self.set("kernel", &[], 0);
        self.set("target", &[], number(seen.target));
        self.set("phase", &[], stage.phase as usize);
        self.set("walk", &[], stage.walk as usize);
        self.flag("waiting", &[], self.machine.waits != 0);
        self.flag("forcing_now", &[], stage.forcing);
        self.flag("forced", &[], stage.forced);
        self.flag("check", &[], seen.check.is_some());
        self.flag("lent", &[], stage.lent.is_some());
        let patches = self.model.scenario.patches.len() + 1;
        if let Some(check) = stage.lent {
            self.none("blocks");
            let codes = &self.model.core.replayer.codes;
            for (code, &(_, function)) in codes.iter().enumerate() {
                for state in [TaskState::Unpatched, TaskState::Patched] {
                    let says = self.model.core.replayer.checks.says(check, code, state);
                    let own = self.own.owners[code];
                    self.flag("blocks", &[number(state), function.into(), own], says);
                }
            }
        }
        for patch in 0..patches {
            let codes = (0..).zip(&self.own.owners);
            let mut codes = codes.filter(|(_, &owner)| patch > 0 && owner == patch);
            let kernel = |&(code, _): &(u8, &usize)| {
                FUNCTIONS[usize::from(self.model.function(code))]
                    .0
                    .is_none()
            };
            let gone = codes
                .find(kernel)
                .is_some_and(|(code, _)| seen.gone & 1 << code != 0);
            let kept = patch > 0 && seen.kept & 1 << (patch - 1) != 0;
            self.flag("gone", &[patch], gone);
            self.flag("kept", &[patch], kept);
        }
    }

    fn functions(&mut self) {
        let seen = self.model.seen(self.machine);
        for (number, (module, _)) in FUNCTIONS.iter().enumerate() {
            let site = seen.sites[number];
            self.flag("attached", &[number], site.is_some());
            self.flag("hook", &[number], seen.hooks[number]);
            self.flag("live", &[number], module.is_none() || seen.live);
            let view = site.map_or(View::Settled(Target::Original), |site| site.0);
            self.view(["trans", "newest", "below"], number, view);
        }
    }

    fn view(&mut self, [trans, first, second]: [&str; 3], of: usize, view: View) {
        self.flag(trans, &[of], matches!(view, View::InTransition { .. }));
        match view {
            View::Settled(target) => self.set(first, &[of], self.owner(target)),
            View::InTransition { newest, below } => {
                self.set(first, &[of], self.owner(newest));
                self.set(second, &[of], self.owner(below));
            }
        }
    }

    fn tasks(&mut self) {
        self.none("inside");
        let stage = self.model.core.stage(self.machine.core);
        for task in 0..TASKS {
            let thread = self.machine.threads.get(task);
            let mut machine = *self.machine;
            let part = *machine.part(task);
            let alive = thread.is_none_or(|thread| thread.present);
            self.flag("is_idle", &[task], thread.is_none());
            self.flag("alive", &[task], alive);
            // An idle task matters only in its loop.
            let running = match thread {
                Some(thread) => thread.present && thread.running,
                None => part.phase != TaskPhase::Free,
            };
            self.flag("running", &[task], running);
            self.flag("moved", &[task], false);
            if alive {
                self.set("state", &[task], number(part.state));
                self.flag("pending", &[task], part.pending);
            }
            let all = stage.walk == Walk::After && thread.is_some();
            if alive {
                self.flag("walked", &[task], all || stage.walked & 1 << task != 0);
            }
            for &code in thread
                .filter(|_| alive)
                .map_or(&[][..], |own| own.stack.codes())
            {
                let function = self.model.function(code);
                let owner = self.own.owners[usize::from(code)];
                self.flag("inside", &[task, function.into(), owner], true);
            }
        }
    }

    fn section(&mut self, section: usize) {
        let mut machine = *self.machine;
        let phase = machine.part(section).phase;
        let waits = self.machine.waits & 1 << section != 0;
        self.set("at", &[section], At::Free as usize);
        self.flag("holds", &[section], false);
        self.flag("awaited", &[section], waits);
        let stopper = section == STOPPER;
        let who = if stopper {
            usize::from(self.machine.looked)
        } else {
            section
        };
        match phase {
            TaskPhase::Free => return,
            TaskPhase::Handler(number) => {
                let (function, view) = self.model.view(number);
                self.set("at", &[section], At::Handler as usize);
                self.set("func", &[section], function.into());
                self.view(["saw_trans", "saw_newest", "saw_below"], section, view);
            }
            TaskPhase::Program(number) => {
                let model = self.model;
                self.program(section, who, model.programs.place(number));
            }
        }
        self.set("who", &[section], who);
        self.flag("itself", &[section], !stopper);
    }

    fn program(&mut self, section: usize, who: usize, place: &Place) {
        let looks = matches!(place.kind, Kind::Switch | Kind::Look);
        let at = match (place.kind, place.next) {
            (Kind::Leave, Access::Target) => At::Left,
            (Kind::Leave, _) => At::Leaving,
            (Kind::Fork, _) => At::Copied,
            (_, Access::Target) => At::Flagged,
            (_, Access::Check) => At::Aimed,
            (_, Access::State(_)) if !place.has_asked_for_check() => At::Aimed,
            (_, Access::Pin(_)) => At::Armed,
            (_, Access::UseCheck) => At::Pinned,
            (_, Access::Name) => At::Naming,
            (_, Access::SetState(..)) => At::Cleared,
            _ => At::Safe,
        };
        self.set("at", &[section], at as usize);
        if let Some(goal) = place.goal().filter(|_| place.kind != Kind::Fork) {
            self.set("goal", &[section], number(goal));
        }
        self.flag("holds", &[section], looks && place.holds().is_some());
        if at == At::Copied {
            let child = THREADS - 1;
            self.set("child", &[section], child);
            let pending = self.machine.threads[child].part.pending;
            self.flag("pending", &[child], pending);
        }
        if matches!(at, At::Left | At::Leaving | At::Cleared) {
            self.mover(who, section);
        }
    }

    fn mover(&mut self, who: usize, section: usize) {
        self.flag("moved", &[who], true);
        self.set("mover", &[who], section);
    }

    /// Once a transition was forced, a task may have two movers. Nothing depends on them if the task
    /// is in the target's state.
    fn forced(&mut self) {
        let stage = self.model.core.stage(self.machine.core);
        let target = self.model.seen(self.machine).target;
        let moving = matches!(stage.phase, Phase::Moving | Phase::Halting | Phase::Ending);
        for task in 0..TASKS {
            let mut machine = *self.machine;
            let alive = machine
                .threads
                .get(task)
                .is_none_or(|thread| thread.present);
            if stage.forced && moving && alive && machine.part(task).state == target {
                for function in ["moved", "mover"] {
                    self.set(function, &[task], UNKNOWN.into());
                }
            }
        }
    }

    fn attempt(&mut self) {
        let (at, who) = match self.model.core.stage(self.machine.core).own {
            Own::Free => (At::Free, None),
            Own::Safe(who) => (At::Safe, Some(who)),
            Own::Cleared(who) => (At::Cleared, Some(who)),
            Own::Forcing(who) => (At::Forcing, Some(who)),
        };
        self.set("at", &[OWN], at as usize);
        self.flag("holds", &[OWN], false);
        self.flag("awaited", &[OWN], false);
        let Some(who) = who else {
            return;
        };
        self.set("who", &[OWN], who);
        self.flag("itself", &[OWN], false);
        let target = self.model.seen(self.machine).target;
        self.set("goal", &[OWN], number(target));
        let moved = self.own.proof.place("moved", &[who]);
        if at != At::Safe && self.state[moved] != 1 {
            self.mover(who, OWN);
        }
    }
}
