// SPDX-License-Identifier: GPL-2.0

//! Questions to a prover, in SMT-LIB: does the invariant hold at first, and does each step keep it?
//!
//! A question asks for a counterexample: a state in which the invariant holds, and a step after
//! which a part of it does not. The prover has to answer that there is none (`unsat`).
//!
//! All variables are for all values, and no function leads from an element back to its own sort.
//! For such formulas the question can be decided, and a counterexample is finite.

use crate::system::{Action, Expr, Formula, SortId, System, Update, VariableId};
use std::fmt::Write as _;

/// A question.
pub struct Question {
    /// What it asks, for people.
    pub what: String,
    /// Whether there has to be an example. Otherwise there must be none.
    pub possible: bool,
}

/// Questions that go to the prover together.
pub struct Script {
    /// The name of the step, and what it leaves out.
    pub name: String,
    /// Of a twin: the invariants that have to break.
    pub breaks: Option<Vec<String>>,
    /// The text. The prover answers each question with a line.
    pub text: String,
    /// The questions, in order. In a script about a step, the first asks whether the step is
    /// possible. Each further one is about the invariant of that position.
    pub questions: Vec<Question>,
}

impl System {
    /// Returns the scripts that together are the proof.
    pub fn proof(&self) -> Vec<Script> {
        let first = std::iter::once(self.at_first());
        first
            .chain(self.actions.iter().map(|action| self.step(action, None)))
            .collect()
    }

    /// Returns the twins of the steps: each lacks one condition, and has to break invariants.
    pub fn twins(&self) -> Vec<Script> {
        let mut scripts = Vec::new();
        for action in &self.actions {
            for (index, guard) in action.guards.iter().enumerate() {
                if guard.twin.is_some() {
                    scripts.push(self.step(action, Some(index)));
                }
            }
        }
        scripts
    }

    fn at_first(&self) -> Script {
        let mut text = self.declarations();
        for formula in &self.init {
            self.assert(&mut text, formula);
        }
        self.ask("at first".to_owned(), None, text, false)
    }

    fn step(&self, action: &Action, without: Option<usize>) -> Script {
        let mut text = self.declarations();
        for invariant in &self.invariants {
            self.assert(&mut text, &invariant.formula);
        }
        for &parameter in &action.parameters {
            let variable = &self.variables[parameter];
            let sort = self.sort(variable.sort);
            let _ = writeln!(text, "(declare-const {} {sort})", variable.name);
        }
        for (index, guard) in action.guards.iter().enumerate() {
            if without != Some(index) {
                self.assert(&mut text, &guard.formula);
            }
        }
        self.declare_after(&mut text, action);
        for formula in &action.ensures {
            self.assert(&mut text, formula);
        }
        let twin = without.and_then(|index| action.guards[index].twin.clone());
        let (name, breaks) = match twin {
            None => (action.name.clone(), None),
            Some((name, breaks)) => (format!("{} without {name}", action.name), Some(breaks)),
        };
        self.ask(name, breaks, text, true)
    }

    /// Adds a question about each invariant.
    fn ask(
        &self,
        name: String,
        breaks: Option<Vec<String>>,
        mut text: String,
        after: bool,
    ) -> Script {
        text.push_str("(check-sat)\n");
        let mut questions = vec![Question {
            what: "it is possible".to_owned(),
            possible: true,
        }];
        for invariant in &self.invariants {
            let Formula { expr, all } = &invariant.formula;
            let expr = if after { expr.after() } else { expr.clone() };
            let holds = self.closed(&expr, all);
            let _ = writeln!(text, "(push)\n(assert (not {holds}))\n(check-sat)\n(pop)");
            questions.push(Question {
                what: invariant.name.clone(),
                possible: false,
            });
        }
        Script {
            name,
            breaks,
            text,
            questions,
        }
    }

    fn declarations(&self) -> String {
        let mut text = String::new();
        for sort in &self.sorts[1..] {
            let name = &sort.name;
            let _ = match &sort.values {
                None => writeln!(text, "(declare-sort {name} 0)"),
                Some(values) => {
                    let values: String = values.iter().map(|value| format!("({value})")).collect();
                    writeln!(text, "(declare-datatypes (({name} 0)) (({values})))")
                }
            };
        }
        for function in &self.functions {
            let sorts = self.sorts(&function.arguments);
            let (name, result) = (&function.name, self.sort(function.result));
            let _ = writeln!(text, "(declare-fun {name} ({sorts}) {result})");
        }
        text
    }

    /// Declares the state after a step.
    fn declare_after(&self, text: &mut String, action: &Action) {
        for (id, function) in self.functions.iter().enumerate() {
            let name = format!("|{}'|", function.name);
            let result = self.sort(function.result);
            if action.any.contains(&id) {
                let sorts = self.sorts(&function.arguments);
                let _ = writeln!(text, "(declare-fun {name} ({sorts}) {result})");
                continue;
            }
            let places: Vec<_> = (0..function.arguments.len())
                .map(|place| format!("x{place}"))
                .collect();
            let parameters: String = places
                .iter()
                .zip(&function.arguments)
                .map(|(place, &sort)| format!("({place} {})", self.sort(sort)))
                .collect();
            let mut value = application(&function.name, &places);
            for update in action.updates.iter().filter(|own| own.function == id) {
                value = self.updated(action, update, &places, &value);
            }
            let _ = writeln!(text, "(define-fun {name} ({parameters}) {result} {value})");
        }
    }

    /// Returns the value after an update, where `old` is the one before.
    fn updated(&self, action: &Action, update: &Update, places: &[String], old: &str) -> String {
        let (mut conditions, mut bindings) = (Vec::new(), String::new());
        for (argument, place) in update.arguments.iter().zip(places) {
            match action.is_any(argument) {
                Some(variable) => {
                    let _ = write!(bindings, "({} {place})", self.variables[variable].name);
                }
                None => conditions.push(format!("(= {place} {})", self.text(argument))),
            }
        }
        let mut value = self.text(&update.value);
        if !bindings.is_empty() {
            value = format!("(let ({bindings}) {value})");
        }
        match conditions.as_slice() {
            [] => value,
            _ => format!("(ite (and {}) {value} {old})", conditions.join(" ")),
        }
    }

    fn sort(&self, sort: SortId) -> &str {
        &self.sorts[sort].name
    }

    fn sorts(&self, sorts: &[SortId]) -> String {
        let names: Vec<_> = sorts.iter().map(|&sort| self.sort(sort)).collect();
        names.join(" ")
    }

    fn assert(&self, text: &mut String, formula: &Formula) {
        let closed = self.closed(&formula.expr, &formula.all);
        let _ = writeln!(text, "(assert {closed})");
    }

    fn closed(&self, expr: &Expr, all: &[VariableId]) -> String {
        let body = self.text(expr);
        if all.is_empty() {
            return body;
        }
        let variables: String = all
            .iter()
            .map(|&variable| &self.variables[variable])
            .map(|variable| format!("({} {})", variable.name, self.sort(variable.sort)))
            .collect();
        format!("(forall ({variables}) {body})")
    }

    fn text(&self, expr: &Expr) -> String {
        let all =
            |parts: &[Expr]| -> Vec<String> { parts.iter().map(|part| self.text(part)).collect() };
        match expr {
            Expr::Value(sort, value) => {
                let values = self.sorts[*sort].values.as_deref().unwrap_or_default();
                values[usize::from(*value)].clone()
            }
            Expr::Variable(variable) => self.variables[*variable].name.clone(),
            Expr::Get(function, after, arguments) => {
                let name = &self.functions[*function].name;
                let name = match after {
                    true => format!("|{name}'|"),
                    false => name.clone(),
                };
                application(&name, &all(arguments))
            }
            Expr::Not(part) => format!("(not {})", self.text(part)),
            Expr::And(parts) => application("and", &all(parts)),
            Expr::Or(parts) => application("or", &all(parts)),
            Expr::Equal(one, other) => format!("(= {} {})", self.text(one), self.text(other)),
            Expr::If(condition, one, other) => {
                let parts = [condition, one, other].map(|part| self.text(part));
                application("ite", &parts)
            }
        }
    }
}

fn application(name: &str, arguments: &[String]) -> String {
    match arguments {
        [] => name.to_owned(),
        _ => format!("({name} {})", arguments.join(" ")),
    }
}
