// SPDX-License-Identifier: GPL-2.0

//! Model checking of the livepatch core's consistency: every interleaving of the core with the tasks,
//! within bounds.
//!
//! ```text
//! cargo run --release -p model                 all scenarios, some minutes
//! cargo run --release -p model -- --quick      the small ones, which the ordinary tests search too
//! cargo run --release -p model -- --exact "one patch"     without reductions, one scenario
//! ```
//!
//! The code that is checked is `core/src`, the same that the kernel runs. Around it the model has
//! tasks and CPUs of its own, which step between any two accesses of the core to what is shared, and
//! whose own passages through the core (the handler, the way to user mode, the scheduler's attempt)
//! are taken apart access by access too.
//!
//! | concern | here |
//! |---|---|
//! | what is searched: patches, and who may do what | [`scenario`], [`scenarios`] |
//! | running the core up to an access | [`replay`] |
//! | the places in the core, and how they follow one another | [`automaton`] |
//! | the places in what the core does on a task's own behalf | [`program`] |
//! | one state of everything | [`machine`] |
//! | what can happen next | [`choices`] |
//! | what that leads to | [`model`] |
//! | what need not be looked at | [`reduction`] and [`automaton`] |
//! | what holds in every state, and the way home | [`properties`] |
//! | what the administrator may expect to find | [`books`] |
//! | all states, breadth first | [`search`] |
//! | the way to a violation, in words | [`words`] |

pub mod automaton;
pub mod books;
pub mod choices;
pub mod machine;
pub mod model;
pub mod program;
pub mod properties;
pub mod reduction;
pub mod replay;
pub mod scenario;
pub mod scenarios;
pub mod search;
pub mod words;
