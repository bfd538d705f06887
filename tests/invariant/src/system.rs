// SPDX-License-Identifier: GPL-2.0

//! A system as it was read: its sorts, its state, its steps and its invariants.

/// A sort, by its position in [`System::sorts`].
pub type SortId = usize;
/// A variable, by its position in [`System::variables`].
pub type VariableId = usize;
/// A part of the state, by its position in [`System::functions`].
pub type FunctionId = usize;

/// The sort of truth values.
pub const BOOL: SortId = 0;

/// A sort.
#[derive(Clone, Debug)]
pub struct Sort {
    /// Its name.
    pub name: String,
    /// Its values, in order. `None`: the sort has any number of elements.
    pub values: Option<Vec<String>>,
}

/// A variable of formulas and steps.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its sort.
    pub sort: SortId,
}

/// A part of the state: a function of elements.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The sorts of its arguments.
    pub arguments: Vec<SortId>,
    /// The sort of its values.
    pub result: SortId,
}

/// A formula or a term.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A value of a sort that lists its values. Those of [`BOOL`] are 0 and 1.
    Value(SortId, u8),
    /// A variable.
    Variable(VariableId),
    /// What a part of the state is, before or (if the flag is set) after the step.
    Get(FunctionId, bool, Vec<Expr>),
    /// Negation.
    Not(Box<Expr>),
    /// Conjunction.
    And(Vec<Expr>),
    /// Disjunction.
    Or(Vec<Expr>),
    /// Equality of two terms, or of two truth values.
    Equal(Box<Expr>, Box<Expr>),
    /// The second if the first is true, otherwise the third.
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// A formula that holds for all values of its variables.
#[derive(Clone, Debug)]
pub struct Formula {
    /// The formula.
    pub expr: Expr,
    /// The variables that it is for all values of.
    pub all: Vec<VariableId>,
}

/// A condition of a step.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The condition.
    pub formula: Formula,
    /// What the condition stands for, and the invariants that the step breaks without it.
    pub twin: Option<(String, Vec<String>)>,
}

/// What a step sets.
#[derive(Clone, Debug)]
pub struct Update {
    /// The part of the state.
    pub function: FunctionId,
    /// Its arguments. An argument that is a variable and no parameter of the step stands for all
    /// elements.
    pub arguments: Vec<Expr>,
    /// The new value, in terms of the state before the step.
    pub value: Expr,
}

/// A step.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Its parameters. The step can be taken with any values.
    pub parameters: Vec<VariableId>,
    /// What it stands for: a file of the project and a function in it, or an assumption.
    pub stands_for: String,
    /// Its conditions.
    pub guards: Vec<Guard>,
    /// What it sets. Of two updates of the same element, the later one counts.
    pub updates: Vec<Update>,
    /// What gets any value that [`Self::ensures`] allows.
    pub any: Vec<FunctionId>,
    /// What holds of the state after the step.
    pub ensures: Vec<Formula>,
}

/// What holds in every state.
#[derive(Clone, Debug)]
pub struct Invariant {
    /// Its name.
    pub name: String,
    /// Whether it is one of the promises, for which there is the rest.
    pub promise: bool,
    /// The formula.
    pub formula: Formula,
}

/// A system.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// The sorts. The first is [`BOOL`].
    pub sorts: Vec<Sort>,
    /// The variables.
    pub variables: Vec<Variable>,
    /// The parts of the state.
    pub functions: Vec<Function>,
    /// What holds at first.
    pub init: Vec<Formula>,
    /// The steps.
    pub actions: Vec<Action>,
    /// What holds in every state.
    pub invariants: Vec<Invariant>,
}

impl Expr {
    /// Calls `each` for every variable in it.
    pub(crate) fn for_each_variable(&self, each: &mut impl FnMut(VariableId)) {
        match self {
            Self::Value(..) => {}
            Self::Variable(variable) => each(*variable),
            Self::Get(_, _, parts) | Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.for_each_variable(each));
            }
            Self::Not(part) => part.for_each_variable(each),
            Self::Equal(one, other) => {
                one.for_each_variable(each);
                other.for_each_variable(each);
            }
            Self::If(condition, one, other) => {
                condition.for_each_variable(each);
                one.for_each_variable(each);
                other.for_each_variable(each);
            }
        }
    }

    /// Returns it with other terms in place of variables.
    pub(crate) fn with(&self, terms: &[(VariableId, Expr)]) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.with(terms)).collect();
        let boxed = |part: &Self| Box::new(part.with(terms));
        match self {
            Self::Value(sort, value) => Self::Value(*sort, *value),
            Self::Variable(variable) => {
                let found = terms.iter().find(|(own, _)| own == variable);
                found.map_or(self.clone(), |(_, term)| term.clone())
            }
            Self::Get(function, after, parts) => Self::Get(*function, *after, all(parts)),
            Self::And(parts) => Self::And(all(parts)),
            Self::Or(parts) => Self::Or(all(parts)),
            Self::Not(part) => Self::Not(boxed(part)),
            Self::Equal(one, other) => Self::Equal(boxed(one), boxed(other)),
            Self::If(condition, one, other) => Self::If(boxed(condition), boxed(one), boxed(other)),
        }
    }

    /// Returns it with the state after a step in place of the one before.
    pub(crate) fn after(&self) -> Self {
        let all = |parts: &[Self]| parts.iter().map(Self::after).collect();
        let boxed = |part: &Self| Box::new(part.after());
        match self {
            Self::Value(..) | Self::Variable(_) => self.clone(),
            Self::Get(function, _, parts) => Self::Get(*function, true, all(parts)),
            Self::And(parts) => Self::And(all(parts)),
            Self::Or(parts) => Self::Or(all(parts)),
            Self::Not(part) => Self::Not(boxed(part)),
            Self::Equal(one, other) => Self::Equal(boxed(one), boxed(other)),
            Self::If(condition, one, other) => Self::If(boxed(condition), boxed(one), boxed(other)),
        }
    }
}

impl Formula {
    /// Returns the formula that holds for all values of the variables in `expr`, except `fixed`.
    pub(crate) fn new(expr: Expr, fixed: &[VariableId]) -> Self {
        let mut all = Vec::new();
        expr.for_each_variable(&mut |variable| {
            if !fixed.contains(&variable) && !all.contains(&variable) {
                all.push(variable);
            }
        });
        Self { expr, all }
    }
}

impl Action {
    /// Whether an argument of an update stands for all elements.
    pub(crate) fn is_any(&self, argument: &Expr) -> Option<VariableId> {
        match argument {
            Expr::Variable(variable) if !self.parameters.contains(variable) => Some(*variable),
            _ => None,
        }
    }
}

impl System {
    /// Returns the part of the state with this name.
    pub fn function(&self, name: &str) -> Option<FunctionId> {
        self.functions.iter().position(|own| own.name == name)
    }
}
