// SPDX-License-Identifier: GPL-2.0

//! The core as an automaton: its places, and the place that each answer leads to.
//!
//! The automaton is learned from the core's code. The code is [replayed](crate::replay) once for
//! each place and answer that the search meets, and never twice for the same one. Between two
//! accesses of the core, a step of a task costs only a few copied bytes.
//!
//! A place is identified by
//! - the rest before the operation: the world's snapshot and the books;
//! - the operation, its accesses so far, what others see, and the next access.
//!
//! Two reductions keep the number of places small:
//! - *Invisible accesses are skipped.* An access to what only the core writes, which changes
//!   nothing that others see, commutes with everything that others do.
//! - *The core acts at once on what it reads.* Places are merged if they differ only in what was
//!   read of tasks, and that led to the same accesses. This is a property of the core, and it is
//!   checked: several of the ways to such a place are kept, and each has to go on alike for each
//!   answer.

use crate::books::{check_callback, Books, Look};
use crate::replay::{Replayer, Reply, Run, Seen};
use crate::scenario::{Op, Scenario};
use crate::stage::Stage;
use host_tests::script::Access;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The number of ways kept to a place that several ways lead to.
const WAYS: usize = 3;

/// The number of a place.
pub type Number = u32;

/// A place where no operation is going on.
struct Rest {
    history: Vec<(Op, Vec<Reply>)>,
    books: Books,
    look: Look,
}

/// A place in the core.
pub struct Place {
    rest: usize,
    op: Option<Op>,
    ways: Vec<Way>,
    /// The next access. `None`: the core is at rest.
    pub next: Option<Access>,
    seen: usize,
    stage: Stage,
    after: HashMap<Reply, Number>,
    begun: HashMap<Op, Number>,
}

/// A way to a place.
#[derive(Clone, PartialEq, Eq)]
struct Way {
    tape: Vec<Reply>,
    trail: Trail,
    stage: Stage,
}

/// The key of a place in the middle of an operation: the rest before it, the operation, the
/// accesses so far, what others see, and the next access.
type Key = (usize, Op, Trail, usize, Option<Access>);

/// The last callback of each object.
type Callbacks = BTreeMap<usize, &'static str>;

/// The accesses so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Trail {
    /// A hash of those that are not about tasks.
    core: u64,
    /// A hash of those about tasks, since the last of the others.
    tasks: u64,
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Trail {
    fn after(self, access: Access, reply: Reply, exact: bool) -> Self {
        if exact {
            return Self {
                core: hash((self.core, access, reply)),
                tasks: 0,
            };
        }
        match access {
            // Which ones exist decides what the core does, but much later.
            Access::Threads | Access::ThreadsUnlocked | Access::Cpus => Self {
                tasks: hash((self.tasks, access, reply)),
                ..self
            },
            Access::State(_)
            | Access::SetState(..)
            | Access::IsPending(_)
            | Access::SetPending(_)
            | Access::ClearPending(_)
            | Access::TestAndClearPending(_)
            | Access::Pin(_) => Self {
                tasks: hash((self.tasks, access)),
                ..self
            },
            _ => Self {
                core: hash((self.core, access)),
                tasks: 0,
            },
        }
    }
}

/// All that is known of the core so far.
pub struct Automaton {
    /// Runs the core.
    pub replayer: Replayer,
    scenario: Scenario,
    /// Whether places that differ only in what was read stay apart.
    exact: bool,
    /// Whether the stages of places matter: whether something is compared with the proof.
    staged: bool,
    rests: Vec<Rest>,
    places: Vec<Place>,
    seen: Vec<Seen>,
    seen_numbers: HashMap<Seen, usize>,
    numbers: HashMap<Key, Number>,
    at_rest: HashMap<(Look, Books, usize, Callbacks), Number>,
}

impl Automaton {
    /// Creates the automaton with its first place, number 0, where nothing has happened yet.
    ///
    /// Returns an error if that place violates a property.
    pub fn new(scenario: &Scenario, exact: bool) -> Result<Self, String> {
        let mut automaton = Self {
            replayer: Replayer::new(scenario.clone()),
            scenario: scenario.clone(),
            exact,
            staged: false,
            rests: Vec::new(),
            places: Vec::new(),
            seen: Vec::new(),
            seen_numbers: HashMap::new(),
            numbers: HashMap::new(),
            at_rest: HashMap::new(),
        };
        let run = automaton.replayer.run(&[], None)?;
        automaton.rest(Vec::new(), Books::default(), Stage::default(), &run)?;
        Ok(automaton)
    }

    /// From now on, places with different stages must not be taken for one.
    pub fn keep_stages(&mut self) {
        self.staged = true;
    }

    /// Returns a place.
    pub fn place(&self, number: Number) -> &Place {
        &self.places[number as usize]
    }

    /// Returns the number of places.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no places.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the number of places where the core is at rest.
    pub fn rests(&self) -> usize {
        self.rests.len()
    }

    /// Returns what others see at a place.
    pub fn seen(&self, number: Number) -> &Seen {
        &self.seen[self.place(number).seen]
    }

    /// Returns how far the core is at a place.
    pub fn stage(&self, number: Number) -> Stage {
        self.place(number).stage
    }

    /// Returns the books before the operation that is going on.
    pub fn books(&self, number: Number) -> &Books {
        &self.rests[self.place(number).rest].books
    }

    /// Returns the operation that is going on.
    pub fn op(&self, number: Number) -> Option<Op> {
        self.place(number).op
    }

    /// Begins an operation at a place where the core is at rest.
    ///
    /// Returns an error if the place that it leads to violates a property.
    pub fn begin(&mut self, number: Number, op: Op) -> Result<Number, String> {
        if let Some(&after) = self.place(number).begun.get(&op) {
            return Ok(after);
        }
        let way = Way {
            tape: Vec::new(),
            trail: Trail::default(),
            stage: self.place(number).stage,
        };
        let after = self.learn(self.place(number).rest, op, way, None)?;
        self.places[number as usize].begun.insert(op, after);
        Ok(after)
    }

    /// Goes on from a place whose access yields `reply`.
    ///
    /// Returns an error if the place that it leads to violates a property.
    pub fn go_on(&mut self, number: Number, reply: Reply) -> Result<Number, String> {
        if let Some(&after) = self.place(number).after.get(&reply) {
            return Ok(after);
        }
        let ways = self.place(number).ways.clone();
        let after = self.follow(number, &ways[0], reply)?;
        self.places[number as usize].after.insert(reply, after);
        for way in &ways[1..] {
            self.compare(number, way, reply, after)?;
        }
        Ok(after)
    }

    fn follow(&mut self, number: Number, way: &Way, reply: Reply) -> Result<Number, String> {
        let place = self.place(number);
        let (Some(op), Some(access)) = (place.op, place.next) else {
            return Err("nothing is going on here".to_owned());
        };
        let mut way = way.clone();
        way.tape.push(reply);
        way.trail = way.trail.after(access, reply, self.exact);
        self.learn(place.rest, op, way, Some((access, reply)))
    }

    fn compare(
        &mut self,
        number: Number,
        way: &Way,
        reply: Reply,
        after: Number,
    ) -> Result<(), String> {
        if self.follow(number, way, reply)? == after {
            return Ok(());
        }
        Err(
            "the model is too coarse: the core remembers more of a task than was thought"
                .to_owned(),
        )
    }

    /// Learns the place that a way leads to. `last` is its last access, with the answer.
    fn learn(
        &mut self,
        rest: usize,
        op: Op,
        mut way: Way,
        last: Option<(Access, Reply)>,
    ) -> Result<Number, String> {
        let history = self.rests[rest].history.clone();
        let mut run = self.replayer.run(&history, Some((op, &way.tape)))?;
        if let Some((access, reply)) = last {
            way.stage = way.stage.after(access, reply, run.next, &run.seen);
        }
        check_callback(&run)?;
        while let Some(access) = run.next.filter(|&access| is_of_core(access)) {
            way.tape.push(Reply::Own);
            let further = self.replayer.run(&history, Some((op, &way.tape)))?;
            if further.seen != run.seen || further.next.is_none() {
                way.tape.pop();
                break;
            }
            way.trail = way.trail.after(access, Reply::Own, self.exact);
            run = further;
            way.stage = way.stage.after(access, Reply::Own, run.next, &run.seen);
            check_callback(&run)?;
        }
        if run.next.is_none() {
            return self.end(rest, op, way, &run);
        }
        let seen = self.see(&run.seen);
        let key = (rest, op, way.trail, seen, run.next);
        if let Some(&number) = self.numbers.get(&key) {
            self.same_stage(number, way.stage)?;
            self.add_way(number, way)?;
            return Ok(number);
        }
        let number = self.push(Place {
            rest,
            op: Some(op),
            stage: way.stage,
            ways: vec![way],
            next: run.next,
            seen,
            after: HashMap::new(),
            begun: HashMap::new(),
        });
        self.numbers.insert(key, number);
        Ok(number)
    }

    fn add_way(&mut self, number: Number, way: Way) -> Result<(), String> {
        let place = &mut self.places[number as usize];
        if place.ways.len() >= WAYS || place.ways.contains(&way) {
            return Ok(());
        }
        place.ways.push(way.clone());
        let known: Vec<_> = place
            .after
            .iter()
            .map(|(&reply, &after)| (reply, after))
            .collect();
        for (reply, after) in known {
            self.compare(number, &way, reply, after)?;
        }
        Ok(())
    }

    fn end(&mut self, rest: usize, op: Op, way: Way, run: &Run) -> Result<Number, String> {
        let before = &self.rests[rest];
        let ended = crate::replay::in_transition(&run.world).is_none();
        let target = run.seen.target;
        let books = before
            .books
            .after(&self.scenario, op, &before.look, target, ended);
        books.check(&self.replayer, &self.scenario, run, &before.books)?;
        let mut history = before.history.clone();
        history.push((op, way.tape));
        let stage = way.stage.at_end(books.forced);
        self.rest(history, books, stage, run)
    }

    /// Returns an error if places with different stages were taken for one.
    fn same_stage(&self, number: Number, stage: Stage) -> Result<(), String> {
        let own = self.place(number).stage;
        if self.staged && own != stage {
            return Err(format!(
                "the model is too coarse: {own:?} and {stage:?} are one place"
            ));
        }
        Ok(())
    }

    fn rest(
        &mut self,
        history: Vec<(Op, Vec<Reply>)>,
        books: Books,
        stage: Stage,
        run: &Run,
    ) -> Result<Number, String> {
        let seen = self.see(&run.seen);
        let look = Look::at(&run.world);
        let callbacks = run.callbacks.iter().map(|&(which, object)| (object, which));
        let key = (look.clone(), books.clone(), seen, callbacks.collect());
        if let Some(&number) = self.at_rest.get(&key) {
            self.same_stage(number, stage)?;
            return Ok(number);
        }
        self.rests.push(Rest {
            history,
            books,
            look,
        });
        let number = self.push(Place {
            rest: self.rests.len() - 1,
            op: None,
            ways: Vec::new(),
            next: None,
            seen,
            stage,
            after: HashMap::new(),
            begun: HashMap::new(),
        });
        self.at_rest.insert(key, number);
        Ok(number)
    }

    fn push(&mut self, place: Place) -> Number {
        self.places.push(place);
        Number::try_from(self.places.len() - 1).expect("few places")
    }

    fn see(&mut self, seen: &Seen) -> usize {
        if let Some(&number) = self.seen_numbers.get(seen) {
            return number;
        }
        self.seen.push(seen.clone());
        self.seen_numbers.insert(seen.clone(), self.seen.len() - 1);
        self.seen.len() - 1
    }
}

/// Whether an access needs no answer and concerns only what the core alone writes.
fn is_of_core(access: Access) -> bool {
    matches!(
        access,
        Access::SetTarget(_)
            | Access::Scheduler(_)
            | Access::ReplaceCheck
            | Access::Site(_)
            | Access::Register(_)
            | Access::Unregister(_)
            | Access::Callback(..)
    )
}
