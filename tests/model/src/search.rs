// SPDX-License-Identifier: GPL-2.0

//! Search: all states of a scenario, breadth first. So a violation is found on a shortest path.
//!
//! A library such as `stateright` needs states that it can clone and ask for their successors.
//! These states are places in running code. They are numbered by an
//! [`Automaton`](crate::automaton::Automaton) that grows during the search. Progress needs the
//! whole graph, not only its states. The search itself is the smaller part.
//!
//! A state is remembered by a 128-bit hash. Among n states, two share a hash with a probability
//! below n²/2¹²⁹. That is less than 10⁻²⁰ for a thousand million states.

use crate::choices::Choice;
use crate::machine::Machine;
use crate::model::Model;
use crate::refinement::Refined;
use crate::scenario::Scenario;
use crate::words;
use hashbrown::HashTable;
use std::io::Write;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of distinct states.
    pub states: usize,
    /// The number of steps between them.
    pub transitions: usize,
    /// The length of the longest of the shortest paths to a state.
    pub depth: usize,
    /// The number of places in the core, and of those where it is at rest.
    pub places: (usize, usize),
    /// The number of runs of the core.
    pub replays: usize,
    /// The length of the longest way home, to the end of a transition while every task leaves.
    pub home: usize,
    /// What was checked against the proof.
    pub refined: Option<Refined>,
    /// The duration in seconds.
    pub seconds: f64,
    /// The memory for the states in bytes.
    pub bytes: usize,
}

/// A violation of a property.
#[derive(Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The number of steps from the first state.
    pub steps: usize,
    /// The path, in words.
    pub trace: Vec<String>,
}

impl Violation {
    fn new(model: &mut Model, what: String, path: &[Choice]) -> Self {
        Self {
            trace: words::trace(model, &what, path),
            steps: path.len(),
            what,
        }
    }
}

/// Marks a state where the way home ends.
const HOME: u32 = u32::MAX;
/// Marks a state whose next step home is not known yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// The states that are known.
#[derive(Default)]
struct Known {
    keys: Vec<u128>,
    table: HashTable<u32>,
    /// The state from which each state was first reached, and the index of the choice.
    parents: Vec<(u32, u8)>,
    /// The next state on the way home.
    home: Vec<u32>,
}

impl Known {
    /// Adds a state. Returns its number, and whether it is new.
    fn add(&mut self, machine: &Machine, parent: (u32, u8)) -> (u32, bool) {
        let key = xxh3_128(&machine.bytes());
        let keys = &self.keys;
        let same = |&number: &u32| keys[number as usize] == key;
        if let Some(&number) = self.table.find(key as u64, same) {
            return (number, false);
        }
        let number = self.keys.len() as u32;
        self.keys.push(key);
        self.parents.push(parent);
        self.home.push(UNKNOWN);
        let keys = &self.keys;
        self.table
            .insert_unique(key as u64, number, |&number| keys[number as usize] as u64);
        (number, true)
    }

    fn bytes(&self) -> usize {
        self.keys.capacity() * 16
            + self.parents.capacity() * 8
            + self.home.capacity() * 4
            + self.table.allocation_size()
    }

    fn path(&self, mut number: u32) -> Vec<(u32, u8)> {
        let mut path = Vec::new();
        while number != 0 {
            let (parent, choice) = self.parents[number as usize];
            path.push((parent, choice));
            number = parent;
        }
        path.reverse();
        path
    }
}

/// How to search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// Without reductions.
    pub exact: bool,
    /// Printing progress now and then.
    pub progress: bool,
    /// Checking each step against the proof for any number of tasks.
    pub refine: bool,
}

/// Searches a scenario.
///
/// Returns the first violation as an error.
pub fn search(scenario: &Scenario, way: Way) -> Result<Summary, Violation> {
    let started = Instant::now();
    let at_once = |what: String| Violation {
        trace: vec![what.clone()],
        what,
        steps: 0,
    };
    let mut model = Model::new(scenario, way.exact).map_err(at_once)?;
    if way.refine {
        model.refine().map_err(at_once)?;
    }
    let mut known = Known::default();
    let mut summary = Summary::default();
    let first = model.first();
    known.add(&first, (0, 0));
    let mut layer = vec![first];
    let mut number = 0u32;
    let mut choices = Vec::new();
    let mut said = Instant::now();
    while !layer.is_empty() {
        let mut next = Vec::new();
        for machine in &layer {
            model.choices(machine, &mut choices);
            let home = if model.is_moving(machine) {
                model.home(machine, &choices)
            } else {
                known.home[number as usize] = HOME;
                None
            };
            for (index, &choice) in choices.iter().enumerate() {
                let after = match model.step(machine, choice) {
                    Ok(after) => after,
                    Err(what) => {
                        let mut path = choices_of(&mut model, &known.path(number));
                        path.push(choice);
                        return Err(Violation::new(&mut model, what, &path));
                    }
                };
                summary.transitions += 1;
                let (successor, new) = known.add(&after, (number, index as u8));
                if new {
                    next.push(after);
                }
                if home == Some(index) {
                    known.home[number as usize] = successor;
                }
            }
            number += 1;
            if way.progress && said.elapsed().as_secs() >= 5 {
                said = Instant::now();
                let seconds = started.elapsed().as_secs_f64();
                println!(
                    "  {}: {} states, {:.0}/s, depth {}, frontier {}, {} places in the core, {} MB",
                    scenario.name,
                    known.keys.len(),
                    known.keys.len() as f64 / seconds,
                    summary.depth,
                    layer.len() + next.len(),
                    model.core.len(),
                    known.bytes() >> 20,
                );
                let _ = std::io::stdout().flush();
            }
        }
        if !next.is_empty() {
            summary.depth += 1;
        }
        layer = next;
    }
    match way_home(&known) {
        Ok(longest) => summary.home = longest,
        Err(number) => {
            let path = choices_of(&mut model, &known.path(number));
            let what =
                "the transition does not end, though everyone leaves the functions and the kernel"
                    .to_owned();
            return Err(Violation::new(&mut model, what, &path));
        }
    }
    summary.states = known.keys.len();
    summary.places = (model.core.len(), model.core.rests());
    summary.refined = model.refinement().map(|own| own.refined());
    summary.replays = model.core.replayer.replays;
    summary.seconds = started.elapsed().as_secs_f64();
    summary.bytes = known.bytes();
    Ok(summary)
}

/// Returns the choices on a path.
fn choices_of(model: &mut Model, path: &[(u32, u8)]) -> Vec<Choice> {
    let mut machine = model.first();
    let mut choices = Vec::new();
    path.iter()
        .map(|&(_, index)| {
            model.choices(&machine, &mut choices);
            let choice = choices[usize::from(index)];
            machine = model
                .step(&machine, choice)
                .expect("it was possible before");
            choice
        })
        .collect()
}

/// Follows all ways home. Returns the length of the longest, or as an error the first state whose
/// way does not end.
fn way_home(known: &Known) -> Result<usize, u32> {
    const OPEN: u32 = u32::MAX;
    let mut lengths = vec![OPEN; known.home.len()];
    let mut longest = 0;
    let mut way = Vec::new();
    for number in 0..known.home.len() as u32 {
        let mut at = number;
        // Every state on the way is marked, so a cycle ends the loop.
        while lengths[at as usize] == OPEN {
            lengths[at as usize] = OPEN - 1;
            way.push(at);
            match known.home[at as usize] {
                HOME => break,
                UNKNOWN => return Err(number),
                next => at = next,
            }
        }
        let mut length = match lengths[at as usize] {
            length if length == OPEN - 1 && known.home[at as usize] != HOME => return Err(number),
            length if length == OPEN - 1 => 0,
            length => length + 1,
        };
        while let Some(at) = way.pop() {
            lengths[at as usize] = length;
            longest = longest.max(length);
            length += 1;
        }
    }
    Ok(longest as usize)
}
