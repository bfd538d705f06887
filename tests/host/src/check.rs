// SPDX-License-Identifier: GPL-2.0

//! Invariants: what holds between the core's operations, whatever happened before.
//!
//! They restate the core's rules in a simpler form, and use only the registry.

use crate::code::contains;
use crate::simulation::Simulation;
use crate::structures::PatchId;
use crate::tasks::TaskId;
use crate::world::World;
use livepatch_core::patch::{Function, Patch};
use livepatch_core::site::{Target, View};
use livepatch_core::stack::Range;
use livepatch_core::symbol::object_text;
use livepatch_core::task::{State, Task};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Checks all invariants.
    ///
    /// # Panics
    ///
    /// Panics if one does not hold.
    pub fn check(&self) {
        self.check_books();
        self.check_tasks();
        if self.forced {
            self.kernel.machine.calls.take();
        } else {
            self.check_consistency();
        }
        assert_eq!(kernel::warnings(), 0, "the core warned");
    }

    /// Checks the invariants that are not about tasks.
    ///
    /// # Panics
    ///
    /// Panics if one does not hold.
    pub fn check_books(&self) {
        self.check_sysfs();
        self.check_references();
        self.check_sites();
        self.check_mirrors();
    }

    /// Checks that everything is back in its first state.
    ///
    /// # Panics
    ///
    /// Panics if it is not.
    pub fn check_pristine(&self) {
        self.check();
        let structures = &self.kernel.structures;
        assert!(self.core.patches().is_empty(), "patches are left");
        assert_eq!(structures.sysfs(), [""; 0], "directories are left");
        assert_eq!(self.kernel.ftrace.filtered(), 0, "filters are left");
        assert_eq!(self.kernel.ftrace.hooked(), [], "hooks are left");
        assert!(
            self.kernel.machine.check().is_none(),
            "a stack check is left"
        );
        for patch in structures.patches.borrow().iter() {
            assert!(
                patch.references == 0 || patch.forced,
                "references to {} are left",
                patch.name
            );
        }
        assert!(!structures
            .objects
            .borrow()
            .iter()
            .any(|object| object.alive));
        assert!(!structures
            .functions
            .borrow()
            .iter()
            .any(|function| function.alive));
    }

    fn check_sysfs(&self) {
        let mut expected = BTreeSet::new();
        for patch in self.core.patches() {
            let directory = patch.name.to_string();
            for object in &patch.objects {
                let directory = format!("{directory}/{}", object_text(object.name.as_ref()));
                for function in &object.functions {
                    let position = function.position.max(1);
                    expected.insert(format!("{directory}/{},{position}", function.name));
                }
                expected.insert(directory);
            }
            expected.insert(directory);
        }
        for patch in self.kernel.structures.deferred.borrow().iter() {
            expected.insert(self.kernel.structures.patch(*patch).name);
        }
        assert_eq!(*self.kernel.structures.sysfs.borrow(), expected, "sysfs");
    }

    fn check_references(&self) {
        let structures = &self.kernel.structures;
        let listed: Vec<PatchId> = self
            .core
            .patches()
            .iter()
            .map(|patch| patch.handle)
            .collect();
        assert_eq!(*structures.listed.borrow(), listed, "the list of patches");
        let deferred = structures.deferred.borrow();
        for (index, patch) in structures.patches.borrow().iter().enumerate() {
            let id = PatchId(index);
            let in_use = listed.contains(&id) || deferred.contains(&id);
            // A patch that is marked as forced keeps the reference to its module.
            let expected = usize::from(in_use || patch.forced);
            assert_eq!(patch.references, expected, "references to {}", patch.name);
        }
    }

    /// Returns the versions of each patched function, oldest first: the target, the code, and
    /// whether the version is in transition.
    fn versions(&self) -> BTreeMap<usize, Vec<(Target, Range, bool)>> {
        let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for function in self.functions() {
            if function.patched {
                let target = if function.nop {
                    Target::Original
                } else {
                    Target::Replacement(function.new.start)
                };
                versions.entry(function.old.start).or_default().push((
                    target,
                    function.new,
                    function.transition,
                ));
            }
        }
        versions
    }

    fn functions(&self) -> impl Iterator<Item = &Function<Simulation>> {
        let objects = self.core.patches().iter().flat_map(|patch| &patch.objects);
        objects.flat_map(|object| &object.functions)
    }

    fn check_sites(&self) {
        let expected: Vec<_> = self
            .versions()
            .into_iter()
            .map(|(function, versions)| {
                let mut downward = versions.iter().rev();
                let newest = downward.next();
                // Of two versions in one patch (aliases), tasks that have not moved get neither.
                let below = downward.find(|version| !version.2);
                let target = |version: Option<&(Target, _, _)>| {
                    version.map_or(Target::Original, |version| version.0)
                };
                let view = if newest.is_some_and(|version| version.2) {
                    View::InTransition {
                        newest: target(newest),
                        below: target(below),
                    }
                } else {
                    View::Settled(target(newest))
                };
                (function, view)
            })
            .collect();
        assert_eq!(self.kernel.ftrace.hooked(), expected, "sites");
        assert_eq!(self.kernel.ftrace.filtered(), expected.len(), "filters");
        assert_eq!(self.core.sites().count(), expected.len());
    }

    fn check_mirrors(&self) {
        let structures = &self.kernel.structures;
        let transition = structures.transition.get();
        for patch in self.core.patches() {
            let in_transition = transition == Some(patch.handle);
            assert_eq!(self.core.is_in_transition(patch.handle), in_transition);
            let mirror = structures.patch(patch.handle);
            assert_eq!(
                (mirror.enabled, mirror.forced),
                (patch.enabled, patch.forced)
            );
            assert!(
                patch.enabled || in_transition,
                "{} is listed in vain",
                patch.name
            );
            for object in &patch.objects {
                let mirror = &structures.objects.borrow()[object.handle.0];
                assert!(mirror.alive);
                assert_eq!(
                    (mirror.module, mirror.patched),
                    (object.module, object.patched)
                );
                assert_eq!(object.patched, object.is_loaded(), "half a patch");
                if object.dynamic || object.functions.iter().any(|function| function.nop) {
                    assert!(in_transition, "nops outlive the transition");
                }
            }
        }
        for function in self.functions() {
            let mirror = &structures.functions.borrow()[function.handle.0];
            assert!(mirror.alive);
            let own = (
                function.old,
                function.new,
                function.patched,
                function.transition,
            );
            assert_eq!(mirror.mirror, own, "{}", function.name);
        }
        let listed = |id: &PatchId| self.core.patches().iter().any(|patch| patch.handle == *id);
        assert!(transition.is_none_or(|id| listed(&id)));
        // Only the registry's structures are in use.
        let alive = structures
            .functions
            .borrow()
            .iter()
            .filter(|own| own.alive)
            .count();
        assert_eq!(alive, self.functions().count(), "functions leak");
    }

    fn check_tasks(&self) {
        let machine = &self.kernel.machine;
        let target = machine.target();
        let in_transition = self.kernel.structures.transition.get().is_some();
        assert_eq!(target != State::Idle, in_transition);
        assert_eq!(
            machine.scheduler.get(),
            in_transition,
            "the scheduler's key"
        );
        assert_eq!(machine.check().is_some(), in_transition, "the stack check");
        assert!(
            machine.retry.get().is_some() || !in_transition,
            "nobody will retry"
        );
        for task in machine.tasks() {
            if in_transition {
                assert_ne!(task.state(), State::Idle, "{} has no state", task.name());
                assert_eq!(task.is_pending(), task.state() != target, "{}", task.name());
            } else {
                assert_eq!(task.state(), State::Idle, "{} has a state", task.name());
                assert!(!task.is_pending(), "{} is pending", task.name());
            }
        }
    }

    /// Checks that no task is in, or has called, a function of a universe other than its own.
    fn check_consistency(&self) {
        let transition = self.kernel.structures.transition.get();
        let mut patches = self.core.patches().iter();
        let patch = patches.find(|patch| transition == Some(patch.handle));
        let now = patch.map(|patch| self.universes(patch));
        if let Some(universes) = &now {
            for task in self.kernel.machine.tasks() {
                for &address in task.stack.borrow().iter() {
                    universes.check(task.id, task.state(), address);
                }
            }
        }
        let before = self.changing.take();
        let calls = self.kernel.machine.calls.take();
        if let Some(universes) = now.as_ref().or(before.as_ref()) {
            for call in calls {
                universes.check(call.task, call.state, call.code);
            }
        }
        self.changing.set(now);
    }

    fn universes(&self, patch: &Patch<Simulation>) -> Universes {
        let versions = self.versions();
        let mut universes = Universes::default();
        for function in patch.objects.iter().flat_map(|object| &object.functions) {
            let Some(stack) = versions.get(&function.old.start) else {
                continue;
            };
            let own = stack.iter().position(|version| version.2).unwrap_or(0);
            let below = own
                .checked_sub(1)
                .map_or(function.old, |index| stack[index].1);
            // Under a newer patch, no call is sent to either version.
            if own + 1 == stack.len() && below != function.new {
                universes.old.push(below);
                universes.new.push(function.new);
            }
        }
        universes
    }
}

/// The code below a patch in transition, and the code that the patch brings.
#[derive(Default)]
pub(crate) struct Universes {
    old: Vec<Range>,
    new: Vec<Range>,
}

impl Universes {
    fn check(&self, task: TaskId, state: State, address: usize) {
        let forbidden = match state {
            State::Patched => &self.old,
            State::Unpatched => &self.new,
            State::Idle => return,
        };
        assert!(
            !forbidden.iter().any(|&range| contains(range, address)),
            "{task:?} ({state:?}) is in a function of the other universe, at {address:#x}"
        );
    }
}
