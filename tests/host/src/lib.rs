// SPDX-License-Identifier: GPL-2.0

//! Host tests of the livepatch core, and the simulated kernel that the tests run it in.
//!
//! A [`world::World`] is a machine: the core, and below it a [`simulation::Simulation`] in place of
//! the kernel. Tests act on the world like an administrator, a module loader and a scheduler.
//! [`World::check`](world::World::check) compares the core's books with what happened in the
//! simulation.
//!
//! | concern | module |
//! |---|---|
//! | tasks, CPUs, stacks, the scheduler | [`tasks`] |
//! | what tasks do, one step at a time | [`step`] |
//! | steps in the middle of the core's operations | [`interruption`] |
//! | answers for the tasks from outside | [`script`] |
//! | functions, their code and names | [`code`] |
//! | ftrace | [`tracer`] |
//! | events that the core reports | [`trace`] |
//! | `struct klp_patch` and its objects and functions, sysfs, modules, callbacks | [`structures`] |
//! | failures on demand | [`faults`] |
//! | what a livepatch module contains | [`recipe`] |
//! | administrator and module loader | [`world`] |
//! | invariants | [`check`] |
//! | routines that tests share | [`routine`] |
//! | what does not compile | [`misuse`] |
//!
//! Everything is deterministic, and a world is cheap to create. A model checker returns to a state
//! by replaying the way to it, and recognizes the state by its [`snapshot::Snapshot`].
//!
//! The simulation also enforces the contract of the core's traits. It panics if the core uses a
//! structure that was released, sleeps where that is not allowed, or frees a hook or a stack check
//! before it has waited for its users.

pub mod check;
pub mod code;
pub mod faults;
pub mod interruption;
pub mod misuse;
pub mod recipe;
pub mod routine;
pub mod script;
pub mod simulation;
pub mod snapshot;
pub mod step;
pub mod structures;
pub mod tasks;
pub mod trace;
pub mod tracer;
pub mod world;
