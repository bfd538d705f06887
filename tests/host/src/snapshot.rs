// SPDX-License-Identifier: GPL-2.0

//! Snapshots: the part of a world that decides its future, to be compared and hashed.

use crate::structures::{ModuleState, PatchId};
use crate::tasks::TaskId;
use crate::world::World;
use livepatch_core::site::Target;
use livepatch_core::task::{State, Task};

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskSnapshot {
    /// Its number.
    pub id: TaskId,
    /// Its state, and whether it is pending.
    pub state: (State, bool),
    /// Whether it is in user mode, and the CPU it runs on.
    pub place: (bool, Option<u32>),
    /// Its stack.
    pub stack: Vec<usize>,
}

/// A patch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatchSnapshot {
    /// Its handle.
    pub id: PatchId,
    /// Whether it is enabled, forced, and in transition.
    pub flags: (bool, bool, bool),
    /// For each object, whether it is loaded and patched.
    pub objects: Vec<(bool, bool)>,
}

/// A world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The tasks.
    pub tasks: Vec<TaskSnapshot>,
    /// For each CPU, whether it is online, and whether it was sent through its idle loop.
    pub cpus: Vec<(bool, bool)>,
    /// The target of the transition.
    pub target: State,
    /// Whether a retry was asked for.
    pub retry: bool,
    /// The patches, oldest first.
    pub patches: Vec<PatchSnapshot>,
    /// Patches that are to be freed.
    pub deferred: Vec<PatchId>,
    /// The reference count of each patch's module.
    pub references: Vec<usize>,
    /// The target of calls: the function, and for each state its version. 0 is the original.
    pub sites: Vec<(usize, usize, usize)>,
    /// The modules.
    pub modules: Vec<ModuleState>,
}

fn address(target: Target) -> usize {
    match target {
        Target::Original => 0,
        Target::Replacement(address) => address,
    }
}

impl World {
    /// Takes a snapshot of the world between two operations.
    pub fn snapshot(&self) -> Snapshot {
        let machine = &self.kernel.machine;
        let structures = &self.kernel.structures;
        let tasks = machine.tasks();
        let patches = self.core.patches().iter();
        let hooked = self.kernel.ftrace.hooked().into_iter();
        Snapshot {
            tasks: tasks
                .iter()
                .map(|task| TaskSnapshot {
                    id: task.id,
                    state: (task.state(), task.is_pending()),
                    place: (task.user.get(), task.cpu.get()),
                    stack: task.stack.borrow().clone(),
                })
                .collect(),
            cpus: machine
                .cpus()
                .iter()
                .map(|cpu| (cpu.online.get(), cpu.woken.get()))
                .collect(),
            target: machine.target(),
            retry: machine.retry.get().is_some(),
            patches: patches
                .map(|patch| PatchSnapshot {
                    id: patch.handle,
                    flags: (
                        patch.enabled,
                        patch.forced,
                        self.core.is_in_transition(patch.handle),
                    ),
                    objects: patch
                        .objects
                        .iter()
                        .map(|object| (object.is_loaded(), object.patched))
                        .collect(),
                })
                .collect(),
            deferred: structures.deferred.borrow().clone(),
            references: structures
                .patches
                .borrow()
                .iter()
                .map(|patch| patch.references)
                .collect(),
            sites: hooked
                .map(|(function, view)| {
                    let version = |state| address(view.choose(|| state));
                    (function, version(State::Patched), version(State::Unpatched))
                })
                .collect(),
            modules: structures
                .modules
                .borrow()
                .iter()
                .map(|module| module.state)
                .collect(),
        }
    }
}
