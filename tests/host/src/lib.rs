// SPDX-License-Identifier: GPL-2.0

//! Host tests of the livepatch core, and the simulated kernel that they drive it with.
//!
//! A [`world::World`] is a machine: the core, and below it a [`simulation::Simulation`] that answers
//! for the kernel. Tests act on the world as an administrator, a module loader and a scheduler
//! would, and [`World::check`](world::World::check) compares the core's books with what the
//! simulation saw happen.
//!
//! | concern | here |
//! |---|---|
//! | tasks, CPUs, stacks, the scheduler | [`tasks`] |
//! | what tasks do, one step at a time | [`step`] |
//! | steps in the middle of the core's operations | [`interruption`] |
//! | somebody else's answers for the tasks | [`script`] |
//! | functions, their code and names | [`code`] |
//! | ftrace | [`tracer`] |
//! | `struct klp_patch` and what hangs off it, sysfs, modules, callbacks | [`structures`] |
//! | failures on demand | [`faults`] |
//! | what a livepatch module contains | [`recipe`] |
//! | administrator and module loader | [`world`] |
//! | invariants | [`check`] |
//! | what tests do over and over | [`routine`] |
//!
//! All of it is deterministic, and a world is cheap to make: a model checker gets back to a state by
//! replaying the way to it, and recognizes it by [`snapshot::Snapshot`].
//!
//! The simulation also holds the core to the contract of its traits: to use a structure that was
//! given up, to sleep where that is not allowed or to drop a hook that ftrace still has is a panic.

pub mod check;
pub mod code;
pub mod faults;
pub mod interruption;
pub mod recipe;
pub mod routine;
pub mod script;
pub mod simulation;
pub mod snapshot;
pub mod step;
pub mod structures;
pub mod tasks;
pub mod tracer;
pub mod world;
