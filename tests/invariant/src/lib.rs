// SPDX-License-Identifier: GPL-2.0

//! The proof for any number of tasks: what the core does, step by step, and what holds after each
//! step.
//!
//! `transition.inv` has both, in a small language. It says what each of its steps stands for in
//! the core. This crate reads it, and puts it to two uses:
//!
//! | use | module |
//! |---|---|
//! | questions to a prover, which together are the proof: the invariant holds at first, and each step keeps it | [`smt`] |
//! | finite structures in which formulas are evaluated and steps are taken, for the model checker | [`finite`] |
//!
//! So the invariant that is proved for any number of tasks is the one that the model checker finds
//! in each state of the code.

pub mod finite;
pub mod parse;
pub mod smt;
pub mod system;
mod words;

pub use system::System;

/// The text of the proof.
pub const TRANSITION: &str = include_str!("../transition.inv");

/// Reads the proof.
///
/// Returns an error that names the line if it is malformed.
pub fn transition() -> anyhow::Result<System> {
    parse::parse(TRANSITION)
}
