// SPDX-License-Identifier: GPL-2.0

//! Questions to a prover, in SMT-LIB: does the invariant hold at first, and does each step keep it?
//!
//! A question asks for a counterexample: a state in which the invariant holds, and a step after
//! which a part of it does not. The prover has to answer that there is none (`unsat`).
//!
//! All variables are for all values, and no function leads from an element back to its own sort.
//! For such formulas the question can be decided, and a counterexample is finite. One function is an
//! exception: a task's mover, whose task is that task again. The prover copes with it.

use crate::system::{Action, Expr, Formula, SortId, System, Update, VariableId};
use std::fmt::Write as _;

/// A question: is there an example?
pub struct Question {
    /// What it asks, for people: the name of an invariant that does not hold after the step.
    pub what: String,
}

/// Questions that go to the prover together.
pub struct Script {
    /// The name of the step, and what it leaves out.
    pub name: String,
    /// Of a twin: the invariants that have to break.
    pub breaks: Option<Vec<String>>,
    /// The text. The prover answers each question with a line.
    pub text: String,
    /// The questions, in order. The first asks whether the step is possible at all. Each further one
    /// is about an invariant.
    pub questions: Vec<Question>,
}

impl Script {
    /// Returns the invariants that break, or may break, given the prover's answers.
    pub fn broken(&self, answers: &[String]) -> Vec<&str> {
        let pairs = self.questions.iter().zip(answers).skip(1);
        let broken = pairs.filter(|(_, answer)| *answer != "unsat");
        broken.map(|(question, _)| question.what.as_str()).collect()
    }

    /// Says how the prover's answers differ from those that are expected.
    pub fn disagreements(&self, answers: &[String]) -> Vec<String> {
        let mut wrong = Vec::new();
        if answers.first().is_none_or(|first| first != "sat") {
            wrong.push(format!("{}: it is not possible", self.name));
        }
        for (question, answer) in self.questions.iter().zip(answers).skip(1) {
            let breaks = self.breaks.as_deref().unwrap_or_default();
            let expected = match breaks.contains(&question.what) {
                true => "sat",
                false => "unsat",
            };
            if answer != expected {
                wrong.push(format!("{}: {}: {answer}", self.name, question.what));
            }
        }
        wrong
    }
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
        }];
        for invariant in &self.invariants {
            let Formula { expr, all } = &invariant.formula;
            let expr = if after { expr.after() } else { expr.clone() };
            let holds = self.closed(&expr, all);
            let _ = writeln!(text, "(push)\n(assert (not {holds}))\n(check-sat)\n(pop)");
            questions.push(Question {
                what: invariant.name.clone(),
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

#[cfg(test)]
mod tests {
    use crate::parse::parse;

    const TEXT: &str = "sort Task var t c : Task data free(Task) init free(t)
        step take(c) \"nothing\" when [the rest: all] !free(t) | t = c set free(t) := t = c
        invariant all free(t) promise none t = c";

    #[test]
    fn a_step_is_a_question_about_each_invariant() {
        let system = parse(TEXT).unwrap();
        let proof = system.proof();
        let names: Vec<_> = proof.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["at first", "take"]);
        let lines: Vec<_> = proof[1].text.lines().collect();
        assert_eq!(
            lines,
            [
                "(declare-sort Task 0)",
                "(declare-fun free (Task) Bool)",
                "(assert (forall ((t Task)) (free t)))",
                "(assert (forall ((t Task)(c Task)) (= t c)))",
                "(declare-const c Task)",
                "(assert (forall ((t Task)) (or (not (free t)) (= t c))))",
                "(define-fun |free'| ((x0 Task)) Bool (let ((t x0)) (= t c)))",
                "(check-sat)",
                "(push)",
                "(assert (not (forall ((t Task)) (|free'| t))))",
                "(check-sat)",
                "(pop)",
                "(push)",
                "(assert (not (forall ((t Task)(c Task)) (= t c))))",
                "(check-sat)",
                "(pop)",
            ]
        );
    }

    #[test]
    fn a_twin_lacks_a_condition() {
        let system = parse(TEXT).unwrap();
        let [twin] = &system.twins()[..] else {
            panic!("one twin");
        };
        assert_eq!(twin.name, "take without the rest");
        assert!(!twin.text.contains("(not (free t))"));
        assert_eq!(twin.breaks.as_deref(), Some(&["all".to_owned()][..]));
    }
}
