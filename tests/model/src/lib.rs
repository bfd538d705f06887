// SPDX-License-Identifier: GPL-2.0

//! Model checking of the livepatch core's consistency: every interleaving of the core with the
//! tasks, within bounds.
//!
//! ```text
//! cargo run --release -p model                 all scenarios, some minutes
//! cargo run --release -p model -- --quick      the small ones, which the ordinary tests search too
//! cargo run --release -p model -- --exact "one patch"     without reductions, one scenario
//! ```
//!
//! The checked code is `core/src`, the same code that runs in the kernel. The model has tasks and
//! CPUs of its own. They step between any two accesses of the core to shared data. The core also
//! runs on tasks' behalf: in the handler, on the way to user mode, and in the scheduler's attempt
//! to move a task. These parts are split into single accesses too.
//!
//! | concern | module |
//! |---|---|
//! | the input: patches, and what each actor may do | [`scenario`], [`scenarios`] |
//! | running the core up to an access | [`replay`] |
//! | the places in the core, and how they follow one another | [`automaton`] |
//! | the places in what the core does on a task's behalf | [`program`] |
//! | one state of everything | [`machine`] |
//! | what can happen next | [`choices`] |
//! | the state that a choice leads to | [`model`] |
//! | what the search may skip | [`reduction`] and [`automaton`] |
//! | what holds in every state, and the way home | [`properties`] |
//! | what the administrator may expect | [`books`] |
//! | how far the core is; that each step is one of the proof in `tests/invariant` | [`stage`], [`refinement`] |
//! | all states, breadth first | [`search`] |
//! | the path to a violation, in words | [`words`] |

pub mod automaton;
pub mod books;
pub mod choices;
pub mod machine;
pub mod model;
pub mod program;
pub mod properties;
pub mod reduction;
pub mod refinement;
pub mod replay;
pub mod scenario;
pub mod scenarios;
pub mod search;
pub mod stage;
pub mod words;
