// SPDX-License-Identifier: GPL-2.0

//! Finite structures: states with so many elements of each sort, in which formulas are evaluated and
//! steps are taken.
//!
//! What a state leaves open is [`UNKNOWN`]: what nothing will read, such as the registers of a
//! section that is over. A formula that depends on it counts as one that does not hold. What is
//! unknown after a step may be anything.

use crate::system::{Action, Expr, Formula, FunctionId, Guard, System};
use std::ops::Range;

/// A value that nothing depends on.
pub const UNKNOWN: u8 = u8::MAX;

const FALSE: u8 = 0;
const TRUE: u8 = 1;

/// The values of all data, in the order of their declaration.
pub type State = Vec<u8>;

/// A system with so many elements of each sort.
pub struct Finite {
    system: System,
    /// The number of elements of each sort.
    sizes: Vec<u8>,
    /// Where the values of each function begin.
    offsets: Vec<usize>,
    length: usize,
    /// For each step, the functions that it may change, a bit for each.
    writes: Vec<u64>,
}

/// The states that an expression is about, and the values of the variables.
struct Scene<'a> {
    before: &'a [u8],
    after: &'a [u8],
    values: Vec<u8>,
}

impl Finite {
    /// Creates a structure in which the sorts with these names have so many elements.
    ///
    /// # Panics
    ///
    /// If there are more than 64 functions, or if a sort has no size.
    pub fn new(system: System, sizes: &[(&str, usize)]) -> Self {
        let size = |sort: &crate::system::Sort| match &sort.values {
            Some(values) => values.len(),
            None => {
                let found = sizes.iter().find(|(name, _)| *name == sort.name);
                found.expect("a size for each sort").1
            }
        };
        let sizes = system.sorts.iter().map(|sort| size(sort) as u8).collect();
        assert!(system.functions.len() <= 64, "more functions than bits");
        let mut own = Self {
            offsets: Vec::new(),
            length: 0,
            writes: Vec::new(),
            sizes,
            system,
        };
        for function in 0..own.system.functions.len() {
            own.offsets.push(own.length);
            own.length += own.count(function);
        }
        let bits = |action: &Action| {
            let updates = action.updates.iter().map(|update| update.function);
            let all = updates.chain(action.any.iter().copied());
            all.fold(0, |bits, function| bits | 1 << function)
        };
        own.writes = own.system.actions.iter().map(bits).collect();
        own
    }

    /// Returns the system.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Returns the number of values of a function.
    fn count(&self, function: FunctionId) -> usize {
        let arguments = self.system.functions[function].arguments.iter();
        arguments
            .map(|&sort| usize::from(self.sizes[sort]))
            .product()
    }

    /// Returns a state in which nothing is known.
    pub fn unknown(&self) -> State {
        vec![UNKNOWN; self.length]
    }

    /// Returns where the value of a function is in a state.
    ///
    /// # Panics
    ///
    /// If there is no such function, or an element is too large.
    pub fn place(&self, function: &str, arguments: &[usize]) -> usize {
        let id = self.system.function(function).expect("a function");
        let sorts = &self.system.functions[id].arguments;
        assert_eq!(sorts.len(), arguments.len(), "{function}");
        let places = sorts.iter().zip(arguments).fold(0, |index, (&sort, &own)| {
            assert!(own < usize::from(self.sizes[sort]), "{function}");
            index * usize::from(self.sizes[sort]) + own
        });
        self.offsets[id] + places
    }

    /// Returns where all values of a function are in a state.
    ///
    /// # Panics
    ///
    /// If there is no such function.
    pub fn values(&self, function: &str) -> Range<usize> {
        self.values_of(self.system.function(function).expect("a function"))
    }

    fn values_of(&self, function: FunctionId) -> Range<usize> {
        self.offsets[function]..self.offsets[function] + self.count(function)
    }

    /// Returns the name of the first part of the invariant that does not hold.
    pub fn broken(&self, state: &[u8]) -> Option<&str> {
        let mut scene = self.scene(state, state);
        let mut invariants = self.system.invariants.iter();
        let broken = invariants.find(|own| !self.holds(&own.formula, &mut scene));
        broken.map(|own| own.name.as_str())
    }

    /// Whether a state may be the first one.
    pub fn is_first(&self, state: &[u8]) -> bool {
        let mut scene = self.scene(state, state);
        let mut init = self.system.init.iter();
        init.all(|formula| self.holds(formula, &mut scene))
    }

    /// Returns the functions whose values differ, a bit for each.
    pub fn differences(&self, before: &[u8], after: &[u8]) -> u64 {
        (0..self.offsets.len()).fold(0, |bits, function| {
            let values = self.values_of(function);
            let mut pairs = before[values.clone()].iter().zip(&after[values]);
            let same = pairs.all(|(before, after)| before == after || *after == UNKNOWN);
            bits | u64::from(!same) << function
        })
    }

    /// Returns the steps, by position, that lead from one state to another, at most `limit`.
    pub fn path(&self, before: &[u8], after: &[u8], limit: usize) -> Option<Vec<usize>> {
        (0..=limit).find_map(|length| {
            let mut path = Vec::new();
            self.extend(before, after, length, &mut path)
                .then_some(path)
        })
    }

    fn extend(&self, before: &[u8], after: &[u8], length: usize, path: &mut Vec<usize>) -> bool {
        let differences = self.differences(before, after);
        if length == 0 {
            return differences == 0;
        }
        for (index, action) in self.system.actions.iter().enumerate() {
            // The last step has to make all differences, and no step makes only others.
            let missing = differences & !self.writes[index];
            if length == 1 && missing != 0 {
                continue;
            }
            path.push(index);
            let mut rest = |state: &[u8]| self.extend(state, after, length - 1, path);
            if self.takes(action, before, after, length == 1, &mut rest) {
                return true;
            }
            path.pop();
        }
        false
    }

    /// Whether these steps, one after the other, lead from one state to another.
    pub fn follows(&self, before: &[u8], after: &[u8], path: &[usize]) -> bool {
        let Some((&first, rest)) = path.split_first() else {
            return self.differences(before, after) == 0;
        };
        let action = &self.system.actions[first];
        self.takes(action, before, after, rest.is_empty(), &mut |state| {
            self.follows(state, after, rest)
        })
    }

    /// Takes a step with any parameters, until `rest` accepts the state that it leads to.
    ///
    /// What may get any value gets that of `after`. If the step is the `last` one, other states than
    /// `after` are passed over.
    fn takes(
        &self,
        action: &Action,
        before: &[u8],
        after: &[u8],
        last: bool,
        rest: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        let mut scene = self.scene(before, after);
        self.bind(action, 0, &mut scene, &mut |scene| {
            let state = self.after(action, scene);
            if last && self.differences(&state, after) != 0 {
                return false;
            }
            let mut ensured = Scene {
                before,
                after: &state,
                values: scene.values.clone(),
            };
            let mut ensures = action.ensures.iter();
            ensures.all(|formula| self.holds(formula, &mut ensured)) && rest(&state)
        })
    }

    /// Gives values to the parameters from `next` on, for which the conditions hold.
    fn bind(
        &self,
        action: &Action,
        next: usize,
        scene: &mut Scene<'_>,
        job: &mut dyn FnMut(&mut Scene<'_>) -> bool,
    ) -> bool {
        // Ask for a condition as soon as all of its parameters have values.
        let bound = &action.parameters[..next];
        let is_due = |guard: &&Guard| {
            let mut last = 0;
            guard.formula.expr.for_each_variable(&mut |variable| {
                let own = action.parameters.iter().position(|own| *own == variable);
                last = last.max(own.map_or(0, |own| own + 1));
            });
            last == bound.len()
        };
        let mut due = action.guards.iter().filter(is_due);
        if !due.all(|guard| self.holds(&guard.formula, scene)) {
            return false;
        }
        let Some(&parameter) = action.parameters.get(next) else {
            return job(scene);
        };
        (0..self.sizes[self.system.variables[parameter].sort]).any(|value| {
            scene.values[parameter] = value;
            self.bind(action, next + 1, scene, job)
        })
    }

    /// Returns the state after a step whose parameters have values.
    fn after(&self, action: &Action, scene: &mut Scene<'_>) -> State {
        let mut state = scene.before.to_vec();
        for &function in &action.any {
            let values = self.values_of(function);
            state[values.clone()].copy_from_slice(&scene.after[values]);
        }
        for update in &action.updates {
            let any = update.arguments.iter().filter_map(|own| action.is_any(own));
            let any: Vec<_> = any.collect();
            self.for_all(&any, scene, &mut |scene| {
                if let Some(place) = self.index(update.function, &update.arguments, scene) {
                    state[place] = self.value(&update.value, scene);
                }
                true
            });
        }
        state
    }

    fn scene<'a>(&self, before: &'a [u8], after: &'a [u8]) -> Scene<'a> {
        Scene {
            before,
            after,
            values: vec![UNKNOWN; self.system.variables.len()],
        }
    }

    fn holds(&self, formula: &Formula, scene: &mut Scene<'_>) -> bool {
        self.for_all(&formula.all, scene, &mut |scene| {
            self.value(&formula.expr, scene) == TRUE
        })
    }

    /// Whether `job` is true for all values of the variables.
    fn for_all(
        &self,
        variables: &[usize],
        scene: &mut Scene<'_>,
        job: &mut dyn FnMut(&mut Scene<'_>) -> bool,
    ) -> bool {
        let Some((&first, rest)) = variables.split_first() else {
            return job(scene);
        };
        (0..self.sizes[self.system.variables[first].sort]).all(|value| {
            scene.values[first] = value;
            self.for_all(rest, scene, job)
        })
    }

    /// Returns the place of a value. `None`: an argument is unknown.
    fn index(&self, function: FunctionId, arguments: &[Expr], scene: &Scene<'_>) -> Option<usize> {
        let sorts = &self.system.functions[function].arguments;
        let mut index = 0;
        for (argument, &sort) in arguments.iter().zip(sorts) {
            let value = self.value(argument, scene);
            if value == UNKNOWN {
                return None;
            }
            index = index * usize::from(self.sizes[sort]) + usize::from(value);
        }
        Some(self.offsets[function] + index)
    }

    fn value(&self, expr: &Expr, scene: &Scene<'_>) -> u8 {
        match expr {
            Expr::Value(_, value) => *value,
            Expr::Variable(variable) => scene.values[*variable],
            Expr::Get(function, after, arguments) => {
                let state = if *after { scene.after } else { scene.before };
                self.index(*function, arguments, scene)
                    .map_or(UNKNOWN, |place| state[place])
            }
            Expr::Not(part) => match self.value(part, scene) {
                UNKNOWN => UNKNOWN,
                value => u8::from(value == FALSE),
            },
            Expr::And(parts) => self.decide(parts, FALSE, scene),
            Expr::Or(parts) => self.decide(parts, TRUE, scene),
            Expr::Equal(one, other) => match (self.value(one, scene), self.value(other, scene)) {
                (UNKNOWN, _) | (_, UNKNOWN) => UNKNOWN,
                (one, other) => u8::from(one == other),
            },
            Expr::If(condition, one, other) => match self.value(condition, scene) {
                TRUE => self.value(one, scene),
                FALSE => self.value(other, scene),
                _ => UNKNOWN,
            },
        }
    }

    /// Returns `decisive` if a part has that value, and otherwise the value that all parts have.
    fn decide(&self, parts: &[Expr], decisive: u8, scene: &Scene<'_>) -> u8 {
        let mut result = 1 - decisive;
        for part in parts {
            match self.value(part, scene) {
                value if value == decisive => return decisive,
                UNKNOWN => result = UNKNOWN,
                _ => {}
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    /// Two lights. One is switched at a time, unless it is stuck; the other stays.
    fn lights() -> Finite {
        let text = "sort Light enum Colour = red | green var l m : Light var c : Colour
            data shows(Light) : Colour data stuck(Light)
            init shows(l) = red & !stuck(l)
            step switch(l, c) \"assumed: a switch\" when !stuck(l) set shows(l) := c
            step jam() \"assumed: dust\" any stuck ensure stuck(l) -> stuck'(l)
            step reset() \"assumed: a wrench\" set shows(m) := red set stuck(m) := false
            invariant safe shows(l) = red | shows(m) = red | l = m";
        Finite::new(parse(text).unwrap(), &[("Light", 2)])
    }

    const RED: u8 = 0;
    const GREEN: u8 = 1;

    #[test]
    fn the_invariant_is_evaluated() {
        let lights = lights();
        assert_eq!(lights.place("stuck", &[1]), 3);
        assert!(lights.is_first(&[RED, RED, 0, 0]));
        assert!(!lights.is_first(&[RED, RED, 0, 1]));
        assert_eq!(lights.broken(&[RED, GREEN, 0, 1]), None);
        assert_eq!(lights.broken(&[GREEN, GREEN, 0, 0]), Some("safe"));
    }

    #[test]
    fn what_is_unknown_proves_nothing() {
        let lights = lights();
        assert_eq!(lights.broken(&[RED, UNKNOWN, UNKNOWN, UNKNOWN]), None);
        assert_eq!(lights.broken(&[GREEN, UNKNOWN, 0, 0]), Some("safe"));
        assert!(!lights.is_first(&[RED, UNKNOWN, 0, 0]));
    }

    #[test]
    fn steps_lead_from_state_to_state() {
        let lights = lights();
        let path = |before: &[u8], after: &[u8], limit| lights.path(before, after, limit);
        let start = [RED, RED, 0, 0];
        assert_eq!(path(&start, &start, 0), Some(vec![]));
        assert_eq!(path(&start, &[GREEN, RED, 0, 0], 3), Some(vec![0]));
        // The light has to be switched before it is stuck.
        assert_eq!(path(&start, &[GREEN, RED, 1, 0], 3), Some(vec![0, 1]));
        assert_eq!(path(&start, &[GREEN, RED, 1, 0], 1), None);
        assert_eq!(path(&[RED, RED, 1, 0], &[GREEN, RED, 1, 0], 1), None);
        assert_eq!(path(&[GREEN, GREEN, 1, 1], &start, 1), Some(vec![2]));
        assert!(lights.follows(&start, &[GREEN, RED, 1, 0], &[0, 1]));
        assert!(!lights.follows(&start, &[GREEN, RED, 1, 0], &[1, 0]));
    }

    #[test]
    fn a_value_that_is_not_asked_for_may_be_any() {
        let lights = lights();
        assert_eq!(
            lights.differences(&[RED, RED, 0, 0], &[UNKNOWN, RED, 0, 1]),
            0b10
        );
        assert_eq!(
            lights.path(&[GREEN, RED, 1, 0], &[UNKNOWN, GREEN, 1, 0], 1),
            Some(vec![0])
        );
    }
}
