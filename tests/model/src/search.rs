// SPDX-License-Identifier: GPL-2.0

//! Search: all states of a scenario, breadth first, so that what is wrong is found on a shortest way.
//!
//! A library such as `stateright` wants states that it can clone and ask for their successors. Ours
//! are places in running code, known by number to an [`Automaton`](crate::automaton::Automaton) that
//! grows while it is asked; and progress needs the graph, not only its states. The search itself is
//! the smaller part.
//!
//! States are remembered by a 128-bit hash: of n states two share one with a probability below
//! n²/2¹²⁹, for a thousand million states less than 10⁻²⁰.

use crate::choices::Choice;
use crate::machine::Machine;
use crate::model::Model;
use crate::scenario::Scenario;
use crate::words;
use hashbrown::HashTable;
use std::io::Write;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub transitions: usize,
    /// Longest of the shortest ways to a state.
    pub depth: usize,
    /// Places in the core, and those of them where it is at rest.
    pub places: (usize, usize),
    /// Runs of the core.
    pub replays: usize,
    /// Longest way home: to the end of a transition with everyone leaving.
    pub home: usize,
    /// Seconds.
    pub seconds: f64,
    /// Bytes for the states.
    pub bytes: usize,
}

/// Something is wrong.
#[derive(Debug)]
pub struct Violation {
    /// What.
    pub what: String,
    /// Number of steps to it from the first state.
    pub steps: usize,
    /// How to get there, in words.
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

/// Where the way home has no next step.
const HOME: u32 = u32::MAX;
/// Not known yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// The states that are known.
#[derive(Default)]
struct Known {
    keys: Vec<u128>,
    table: HashTable<u32>,
    /// From which state each was first reached, and by which of its choices.
    parents: Vec<(u32, u8)>,
    /// The next on the way home.
    home: Vec<u32>,
}

impl Known {
    /// The number of a state, and whether it is new.
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

/// Searches a scenario. `progress`: says how far it is now and then.
///
/// Errors: the first violation.
pub fn search(scenario: &Scenario, exact: bool, progress: bool) -> Result<Summary, Violation> {
    let started = Instant::now();
    let mut model = Model::new(scenario, exact).map_err(|what| Violation {
        trace: vec![what.clone()],
        what,
        steps: 0,
    })?;
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
            if progress && said.elapsed().as_secs() >= 5 {
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
    summary.replays = model.core.replayer.replays;
    summary.seconds = started.elapsed().as_secs_f64();
    summary.bytes = known.bytes();
    Ok(summary)
}

/// What was chosen on a path.
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

/// Follows all ways home. Returns the longest; errors: the first state whose way does not end.
fn way_home(known: &Known) -> Result<usize, u32> {
    const OPEN: u32 = u32::MAX;
    let mut lengths = vec![OPEN; known.home.len()];
    let mut longest = 0;
    let mut way = Vec::new();
    for number in 0..known.home.len() as u32 {
        let mut at = number;
        // Each of a way is marked, so that a circle ends.
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
