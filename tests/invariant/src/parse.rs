// SPDX-License-Identifier: GPL-2.0

//! Reads a system from its text. The head of `transition.inv` explains the language.

use crate::system::{
    Action, Expr, Formula, Function, FunctionId, Guard, Invariant, Sort, SortId, System, Update,
    Variable, VariableId, BOOL,
};
use crate::words::{split, Word};
use anyhow::{anyhow, bail, Context as _, Result};

/// The words that begin an item, or a part of a step. An expression ends before them.
const KEYWORDS: [&str; 13] = [
    "sort",
    "enum",
    "var",
    "data",
    "define",
    "init",
    "step",
    "when",
    "set",
    "any",
    "ensure",
    "promise",
    "invariant",
];

/// An abbreviation.
struct Definition {
    name: String,
    parameters: Vec<VariableId>,
    sort: SortId,
    expr: Expr,
}

/// A term, and its sort.
type Term = (Expr, SortId);

/// What was read so far, and the rest.
struct Parser<'a> {
    words: Vec<Word<'a>>,
    at: usize,
    system: System,
    definitions: Vec<Definition>,
}

/// Reads a system.
///
/// Returns an error that names the line if the text is malformed.
pub fn parse(text: &str) -> Result<System> {
    let mut parser = Parser {
        words: split(text),
        at: 0,
        system: System::default(),
        definitions: Vec::new(),
    };
    parser.system.sorts.push(Sort {
        name: "Bool".to_owned(),
        values: Some(vec!["false".to_owned(), "true".to_owned()]),
    });
    while parser.at < parser.words.len() {
        let line = parser.words[parser.at].line;
        parser.item().with_context(|| format!("line {line}"))?;
    }
    Ok(parser.system)
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a str {
        self.words.get(self.at).map_or("", |word| word.text)
    }

    fn take(&mut self) -> &'a str {
        let word = self.peek();
        self.at += 1;
        word
    }

    /// Takes the word if it comes next.
    fn has(&mut self, word: &str) -> bool {
        let has = self.peek() == word;
        self.at += usize::from(has);
        has
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        match self.take() {
            found if found == word => Ok(()),
            found => bail!("`{word}` is expected, and `{found}` is there"),
        }
    }

    fn name(&mut self) -> Result<String> {
        let word = self.take();
        let good = word.starts_with(char::is_alphabetic) && !KEYWORDS.contains(&word);
        good.then(|| word.to_owned())
            .ok_or_else(|| anyhow!("a name is expected, and `{word}` is there"))
    }

    /// Reads a list in parentheses, if there is one.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = Vec::new();
        if self.has("(") && !self.has(")") {
            loop {
                list.push(one(self)?);
                if self.has(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        Ok(list)
    }

    fn sort(&mut self) -> Result<SortId> {
        let name = self.name()?;
        let found = self.system.sorts.iter().position(|sort| sort.name == name);
        found.ok_or_else(|| anyhow!("`{name}` is no sort"))
    }

    fn variable(&mut self) -> Result<VariableId> {
        let name = self.name()?;
        self.find_variable(&name)
            .ok_or_else(|| anyhow!("`{name}` is no variable"))
    }

    fn find_variable(&self, name: &str) -> Option<VariableId> {
        let mut variables = self.system.variables.iter();
        variables.position(|variable| variable.name == name)
    }

    fn find_function(&mut self) -> Result<FunctionId> {
        let name = self.name()?;
        self.system
            .function(&name)
            .ok_or_else(|| anyhow!("`{name}` is no part of the state"))
    }

    fn item(&mut self) -> Result<()> {
        match self.take() {
            "sort" => {
                let name = self.name()?;
                self.system.sorts.push(Sort { name, values: None });
            }
            "enum" => {
                let name = self.name()?;
                self.expect("=")?;
                let mut values = vec![self.name()?];
                while self.has("|") {
                    values.push(self.name()?);
                }
                let values = Some(values);
                self.system.sorts.push(Sort { name, values });
            }
            "var" => {
                let mut names = Vec::new();
                while self.peek() != ":" {
                    names.push(self.name()?);
                }
                self.expect(":")?;
                let sort = self.sort()?;
                let variables = names.into_iter().map(|name| Variable { name, sort });
                self.system.variables.extend(variables);
            }
            "data" => {
                let name = self.name()?;
                let arguments = self.list(Self::sort)?;
                let result = if self.has(":") { self.sort()? } else { BOOL };
                self.system.functions.push(Function {
                    name,
                    arguments,
                    result,
                });
            }
            "define" => {
                let name = self.name()?;
                let parameters = self.list(Self::variable)?;
                self.expect("=")?;
                let (expr, sort) = self.expr()?;
                self.definitions.push(Definition {
                    name,
                    parameters,
                    sort,
                    expr,
                });
            }
            "init" => {
                let formula = self.formula(&[])?;
                self.system.init.push(formula);
            }
            "step" => {
                let action = self.action()?;
                self.system.actions.push(action);
            }
            kind @ ("promise" | "invariant") => {
                let name = self.name()?;
                let formula = self.formula(&[])?;
                self.system.invariants.push(Invariant {
                    name,
                    promise: kind == "promise",
                    formula,
                });
            }
            other => bail!("`{other}` begins nothing"),
        }
        Ok(())
    }

    fn action(&mut self) -> Result<Action> {
        let name = self.name()?;
        let parameters = self.list(Self::variable)?;
        let quoted = self.take();
        let stands_for = quoted
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let stands_for = stands_for.ok_or_else(|| anyhow!("what does `{name}` stand for?"))?;
        let mut action = Action {
            name,
            parameters,
            stands_for: stands_for.to_owned(),
            guards: Vec::new(),
            updates: Vec::new(),
            any: Vec::new(),
            ensures: Vec::new(),
        };
        loop {
            if self.has("when") {
                let twin = if self.has("[") {
                    Some(self.twin()?)
                } else {
                    None
                };
                let formula = self.formula(&action.parameters)?;
                action.guards.push(Guard { formula, twin });
            } else if self.has("set") {
                let update = self.update()?;
                action.updates.push(update);
            } else if self.has("any") {
                action.any.push(self.find_function()?);
            } else if self.has("ensure") {
                let formula = self.formula(&action.parameters)?;
                action.ensures.push(formula);
            } else {
                return Ok(action);
            }
        }
    }

    /// Reads `name: invariant ...]`.
    fn twin(&mut self) -> Result<(String, Vec<String>)> {
        let mut name = self.name()?;
        while self.peek() != ":" {
            name = format!("{name} {}", self.name()?);
        }
        self.expect(":")?;
        let mut broken = Vec::new();
        while !self.has("]") {
            broken.push(self.name()?);
        }
        Ok((name, broken))
    }

    fn update(&mut self) -> Result<Update> {
        let function = self.find_function()?;
        let Function {
            arguments: sorts,
            result,
            ..
        } = self.system.functions[function].clone();
        let arguments = self.list(Self::expr)?;
        self.check_arguments(&arguments, &sorts)?;
        self.expect(":=")?;
        let value = self.expr_of(result)?;
        let arguments = arguments.into_iter().map(|(expr, _)| expr).collect();
        Ok(Update {
            function,
            arguments,
            value,
        })
    }

    fn formula(&mut self, fixed: &[VariableId]) -> Result<Formula> {
        Ok(Formula::new(self.expr_of(BOOL)?, fixed))
    }

    fn expr_of(&mut self, sort: SortId) -> Result<Expr> {
        let (expr, own) = self.expr()?;
        self.same(own, sort)?;
        Ok(expr)
    }

    fn same(&self, one: SortId, other: SortId) -> Result<()> {
        if one != other {
            let name = |sort: SortId| &self.system.sorts[sort].name;
            bail!("{} is not {}", name(one), name(other));
        }
        Ok(())
    }

    fn check_arguments(&self, arguments: &[Term], sorts: &[SortId]) -> Result<()> {
        if arguments.len() != sorts.len() {
            bail!("{} arguments instead of {}", arguments.len(), sorts.len());
        }
        let mut pairs = arguments.iter().zip(sorts);
        pairs.try_for_each(|((_, own), &sort)| self.same(*own, sort))
    }

    /// Reads an expression: `<->`, then `->`, which goes to the right, then what binds closer.
    fn expr(&mut self) -> Result<Term> {
        let (one, sort) = self.disjunction()?;
        if self.has("<->") {
            self.same(sort, BOOL)?;
            let other = self.expr_of(BOOL)?;
            return Ok((Expr::Equal(Box::new(one), Box::new(other)), BOOL));
        }
        if self.has("->") {
            self.same(sort, BOOL)?;
            let other = self.expr_of(BOOL)?;
            return Ok((Expr::Or(vec![Expr::Not(Box::new(one)), other]), BOOL));
        }
        Ok((one, sort))
    }

    fn disjunction(&mut self) -> Result<Term> {
        self.several("|", Self::conjunction, Expr::Or)
    }

    fn conjunction(&mut self) -> Result<Term> {
        self.several("&", Self::comparison, Expr::And)
    }

    fn several(
        &mut self,
        sign: &str,
        one: impl Fn(&mut Self) -> Result<Term>,
        join: impl Fn(Vec<Expr>) -> Expr,
    ) -> Result<Term> {
        let (first, sort) = one(self)?;
        if self.peek() != sign {
            return Ok((first, sort));
        }
        self.same(sort, BOOL)?;
        let mut parts = vec![first];
        while self.has(sign) {
            let (part, sort) = one(self)?;
            self.same(sort, BOOL)?;
            parts.push(part);
        }
        Ok((join(parts), BOOL))
    }

    fn comparison(&mut self) -> Result<Term> {
        let (one, sort) = self.unary()?;
        let equal = |one: &Expr, other| Expr::Equal(Box::new(one.clone()), Box::new(other));
        if self.has("=") {
            let (other, own) = self.unary()?;
            self.same(own, sort)?;
            return Ok((equal(&one, other), BOOL));
        }
        if self.has("!=") {
            let (other, own) = self.unary()?;
            self.same(own, sort)?;
            return Ok((Expr::Not(Box::new(equal(&one, other))), BOOL));
        }
        if self.has("in") {
            self.expect("{")?;
            let mut parts = Vec::new();
            loop {
                let (other, own) = self.unary()?;
                self.same(own, sort)?;
                parts.push(equal(&one, other));
                if self.has("}") {
                    return Ok((Expr::Or(parts), BOOL));
                }
                self.expect(",")?;
            }
        }
        Ok((one, sort))
    }

    fn unary(&mut self) -> Result<Term> {
        if self.has("!") {
            let (part, sort) = self.unary()?;
            self.same(sort, BOOL)?;
            return Ok((Expr::Not(Box::new(part)), BOOL));
        }
        if self.has("(") {
            let term = self.expr()?;
            self.expect(")")?;
            return Ok(term);
        }
        if self.has("if") {
            let condition = self.expr_of(BOOL)?;
            self.expect("then")?;
            let (one, sort) = self.expr()?;
            self.expect("else")?;
            let other = self.expr_of(sort)?;
            let [condition, one, other] = [condition, one, other].map(Box::new);
            return Ok((Expr::If(condition, one, other), sort));
        }
        self.named()
    }

    /// Reads a name: a value, a variable, an abbreviation or a part of the state.
    fn named(&mut self) -> Result<Term> {
        let word = self.take();
        for (sort, own) in self.system.sorts.iter().enumerate() {
            let values = own.values.as_deref().unwrap_or_default();
            if let Some(value) = values.iter().position(|value| value == word) {
                return Ok((Expr::Value(sort, u8::try_from(value)?), sort));
            }
        }
        if let Some(variable) = self.find_variable(word) {
            let sort = self.system.variables[variable].sort;
            return Ok((Expr::Variable(variable), sort));
        }
        let arguments = self.list(Self::expr)?;
        let exprs = arguments.iter().map(|(expr, _)| expr.clone());
        if let Some(own) = self.definitions.iter().find(|own| own.name == word) {
            let of = |&variable: &VariableId| self.system.variables[variable].sort;
            let sorts: Vec<_> = own.parameters.iter().map(of).collect();
            self.check_arguments(&arguments, &sorts)?;
            let terms: Vec<_> = own.parameters.iter().copied().zip(exprs).collect();
            return Ok((own.expr.with(&terms), own.sort));
        }
        let (name, after) = match word.strip_suffix('\'') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let function = self.system.function(name);
        let function = function.ok_or_else(|| anyhow!("`{word}` is unknown"))?;
        let own = &self.system.functions[function];
        self.check_arguments(&arguments, &own.arguments)?;
        Ok((Expr::Get(function, after, exprs.collect()), own.result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "sort A var a b : A\ndata f(A) data g : A\n";

    #[test]
    fn a_mistake_has_a_line() {
        for (text, mistake) in [
            ("invariant x f(c)", "`c` is unknown"),
            ("invariant x f(a", "`,` is expected"),
            ("invariant x a", "A is not Bool"),
            ("invariant x f(a) & a", "A is not Bool"),
            ("invariant x f(a, b)", "2 arguments instead of 1"),
            ("invariant x f(a) = a", "A is not Bool"),
            ("step s(c) \"x: y\"", "`c` is no variable"),
            ("step s(a) set", "what does `s` stand for?"),
            ("step s(a) \"x: y\" set f(a) := a", "A is not Bool"),
            ("f(a)", "`f` begins nothing"),
            ("data h(B)", "`B` is no sort"),
        ] {
            let error = format!("{:#}", parse(&format!("{HEAD}{text}")).unwrap_err());
            assert!(error.contains(mistake), "{text}: {error}");
            assert!(error.starts_with("line 3"), "{text}: {error}");
        }
    }

    #[test]
    fn free_variables_are_for_all() {
        let text = "step s(a) \"x: y\" when f(a) -> a != b define same(a, b) = a = b
            invariant x same(g, a) -> f(g)";
        let system = parse(&format!("{HEAD}{text}")).unwrap();
        assert_eq!(system.actions[0].guards[0].formula.all, [1]);
        assert_eq!(system.invariants[0].formula.all, [0]);
    }
}
