// SPDX-License-Identifier: GPL-2.0

//! Books: what the administrator may expect, derived only from the operations that were asked for.
//!
//! They restate the documented order of the C core and never look at the core's own books.

use crate::replay::{address, checked, in_transition, Replayer, Run, Seen, Site};
use crate::scenario::{Op, Scenario, FUNCTIONS};
use host_tests::script::Access;
use host_tests::snapshot::Snapshot;
use host_tests::world::World;
use livepatch_core::site::{Target, View};
use livepatch_core::task::State;
use std::collections::BTreeMap;

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// Its patch.
    pub patch: u8,
    /// Its current target.
    pub to: State,
    /// Whether it began when the patch was enabled.
    pub enabling: bool,
}

impl Transition {
    fn is_turned(&self) -> bool {
        self.enabling != (self.to == State::Patched)
    }
}

/// What an observer other than its tasks sees of a world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// The patches, the sites, the modules, and the deferred work.
    pub snapshot: Snapshot,
    sysfs: Vec<String>,
}

impl Look {
    /// Looks at a world between two operations.
    pub fn at(world: &World) -> Self {
        let mut snapshot = world.snapshot();
        // The model has tasks and CPUs of its own; those of the simulation are unused.
        snapshot.tasks.clear();
        snapshot.cpus.clear();
        Self {
            snapshot,
            sysfs: world.kernel.structures.sysfs(),
        }
    }

    fn is_back_at(&self, before: &Self) -> bool {
        let (own, old) = (&self.snapshot, &before.snapshot);
        // Patches that came and went leave no reference.
        let (kept, new) = own.references.split_at(old.references.len());
        (
            &own.patches,
            &own.sites,
            &own.deferred,
            &own.modules,
            kept,
            &self.sysfs,
        ) == (
            &old.patches,
            &old.sites,
            &old.deferred,
            &old.modules,
            &old.references[..],
            &before.sysfs,
        ) && new.iter().all(|&references| references == 0)
    }
}

/// The expected state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Books {
    /// The patches, oldest first.
    pub stack: Vec<u8>,
    /// The transition.
    pub transition: Option<Transition>,
    /// Whether the module is loaded.
    pub module: bool,
    /// Whether any transition was forced.
    pub forced: bool,
    /// The state that a reversed transition has to restore.
    before: Option<Box<Look>>,
}

impl Books {
    /// Returns the books after an operation. `target` is where the tasks go now, and `ended` says
    /// that no transition is left.
    pub fn after(
        &self,
        scenario: &Scenario,
        op: Op,
        look: &Look,
        target: State,
        ended: bool,
    ) -> Self {
        let mut books = self.clone();
        let begin = |patch, enabling| {
            let to = if enabling {
                State::Patched
            } else {
                State::Unpatched
            };
            Some(Transition {
                patch,
                to,
                enabling,
            })
        };
        match op {
            Op::Insmod(patch) => {
                books.stack.push(patch);
                books.transition = begin(patch, true);
                books.before = Some(Box::new(look.clone()));
            }
            Op::Disable(patch) => {
                books.transition = begin(patch, false);
                books.before = Some(Box::new(look.clone()));
            }
            Op::Reverse => {
                if let Some(transition) = &mut books.transition {
                    transition.to = match transition.to {
                        State::Patched => State::Unpatched,
                        _ => State::Patched,
                    };
                }
            }
            Op::Force => {
                books.forced = true;
                books.before = None;
            }
            Op::Load | Op::Unload => {
                books.module = op == Op::Load;
                books.before = None;
            }
            Op::Tick => {}
            // The deadline turns the transition, unless the last task has moved meanwhile.
            Op::Late => {
                if let Some(transition) = books.transition.as_mut().filter(|_| !ended) {
                    transition.to = target;
                }
            }
        }
        if let Some(transition) = books.transition.filter(|_| ended) {
            let replaces = scenario.patches[usize::from(transition.patch)].replace;
            let patched = transition.to == State::Patched;
            books
                .stack
                .retain(|&patch| match patch == transition.patch {
                    true => patched,
                    false => !(patched && replaces),
                });
            books.transition = None;
            books.before = None;
        }
        books
    }

    /// Returns what the site of a function should show.
    fn site(&self, replayer: &Replayer, scenario: &Scenario, function: u8) -> Option<View> {
        let (object, name) = FUNCTIONS[usize::from(function)];
        if object.is_some() && !self.module {
            return None;
        }
        // For each version, its target, and whether tasks are moving to or from it.
        let mut versions: Vec<(Target, bool)> = Vec::new();
        for &patch in &self.stack {
            let recipe = &scenario.patches[usize::from(patch)];
            let transition = self
                .transition
                .filter(|transition| transition.patch == patch);
            let moving = transition.is_some();
            if let Some(code) = replayer.replacement(&recipe.name, function) {
                versions.push((Target::Replacement(address(code)), moving));
            } else if transition.is_some_and(|transition| transition.enabling)
                && recipe.replace
                && self.is_touched_below(scenario, patch, name)
            {
                versions.push((Target::Original, moving));
            }
        }
        let (newest, in_transition) = versions.pop()?;
        let below = versions
            .pop()
            .map_or(Target::Original, |(target, _)| target);
        Some(if in_transition {
            View::InTransition { newest, below }
        } else {
            View::Settled(newest)
        })
    }

    fn is_touched_below(&self, scenario: &Scenario, patch: u8, name: &str) -> bool {
        let below = self.stack.iter().take_while(|&&own| own != patch);
        below
            .flat_map(|&own| &scenario.patches[usize::from(own)].objects)
            .flat_map(|object| &object.functions)
            .any(|function| function.name == name)
    }

    /// Compares the books with the world after an operation.
    ///
    /// Returns the first difference as an error.
    pub fn check(
        &self,
        replayer: &Replayer,
        scenario: &Scenario,
        run: &Run,
        before: &Self,
    ) -> Result<(), String> {
        checked(|| run.world.check_books())?;
        let core = &run.world.core;
        let names: Vec<_> = core
            .patches()
            .iter()
            .map(|patch| patch.name.to_string())
            .collect();
        let expected: Vec<_> = self
            .stack
            .iter()
            .map(|&patch| scenario.patches[usize::from(patch)].name.clone())
            .collect();
        if names != expected {
            return Err(format!("the patches are {names:?}, expected {expected:?}"));
        }
        for (order, patch) in core.patches().iter().enumerate() {
            let transition = self.transition.filter(|transition| {
                scenario.patches[usize::from(transition.patch)].name == patch.name.to_string()
            });
            let enabled = transition.is_none_or(|transition| transition.to == State::Patched);
            let found = (
                patch.enabled,
                core.is_in_transition(patch.handle),
                core.stack_order(patch.handle),
            );
            let expected = (enabled, transition.is_some(), order + 1);
            if found != expected {
                return Err(format!(
                    "enabled, transition and stack_order of '{}' are {found:?}, expected {expected:?}",
                    patch.name
                ));
            }
        }
        let to = self
            .transition
            .map_or(State::Idle, |transition| transition.to);
        if run.seen.target != to {
            return Err(format!(
                "the target is {:?}, expected {to:?}",
                run.seen.target
            ));
        }
        if run.seen.scheduler != self.transition.is_some() {
            return Err(
                "the scheduler's key does not say whether there is a transition".to_owned(),
            );
        }
        if self.transition.is_some() && !run.seen.retry {
            return Err("nobody will retry the transition".to_owned());
        }
        self.check_sites(replayer, scenario, &run.seen)?;
        self.check_callbacks(scenario, run)?;
        // A reversed transition that has ended has undone itself.
        if let (Some(transition), None, Some(old)) =
            (before.transition, self.transition, &before.before)
        {
            if transition.is_turned() && !Look::at(&run.world).is_back_at(old) {
                return Err("after a reversal, not all is as it was before".to_owned());
            }
        }
        Ok(())
    }

    fn check_sites(
        &self,
        replayer: &Replayer,
        scenario: &Scenario,
        seen: &Seen,
    ) -> Result<(), String> {
        for (function, found) in (0..).zip(&seen.sites) {
            let expected = self.site(replayer, scenario, function);
            if found.map(|Site(view)| view) != expected {
                return Err(format!(
                    "calls of {} go by {found:?}, expected {expected:?}",
                    FUNCTIONS[usize::from(function)].1
                ));
            }
        }
        Ok(())
    }

    /// Checks that the callbacks of each object come in order, and that the last one fits the state
    /// of the object.
    fn check_callbacks(&self, scenario: &Scenario, run: &Run) -> Result<(), String> {
        let mut last: BTreeMap<usize, &str> = BTreeMap::new();
        for &(which, object) in &run.callbacks {
            let before = last.insert(object, which);
            let follows = match which {
                "pre_patch" => matches!(before, None | Some("post_unpatch")),
                "post_patch" => matches!(before, Some("pre_patch" | "pre_unpatch")),
                "pre_unpatch" => before == Some("post_patch"),
                _ => matches!(before, Some("pre_patch" | "pre_unpatch")),
            };
            if !follows {
                return Err(format!("the callback {which} comes after {before:?}"));
            }
        }
        for patch in run.world.core.patches() {
            let moving = self.transition.filter(|transition| {
                scenario.patches[usize::from(transition.patch)].name == patch.name.to_string()
            });
            for object in &patch.objects {
                let last = last.get(&object.handle.0).copied();
                let right = match (object.is_loaded(), moving) {
                    (false, _) => matches!(last, None | Some("post_unpatch")),
                    (true, None) => last == Some("post_patch"),
                    (true, Some(transition)) if transition.enabling => last == Some("pre_patch"),
                    // The module may have been loaded since.
                    (true, Some(_)) => matches!(last, Some("pre_unpatch" | "pre_patch")),
                };
                if !right {
                    return Err(format!(
                        "the last callback of '{}' was {last:?}",
                        patch.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Checks that the functions of a callback's object are patched, or not patched, as documented.
///
/// Returns the first difference as an error.
pub fn check_callback(run: &Run) -> Result<(), String> {
    let Some(Access::Callback(which, id)) = run.next else {
        return Ok(());
    };
    let patches = run.world.core.patches().iter();
    let mut objects = patches.flat_map(|patch| &patch.objects);
    let Some(object) = objects.find(|object| object.handle == id) else {
        return Err(format!(
            "the callback {which} of an object that is not there"
        ));
    };
    let patched = matches!(which, "post_patch" | "pre_unpatch");
    for function in &object.functions {
        if function.patched != patched || (which == "post_patch" && function.transition) {
            return Err(format!(
                "the callback {which} runs while {} is {}patched{}",
                function.name,
                if function.patched { "" } else { "not " },
                if function.transition {
                    " and in transition"
                } else {
                    ""
                },
            ));
        }
    }
    let expected = matches!(which, "post_patch" | "post_unpatch");
    let moving = in_transition(&run.world).is_some();
    // Callbacks for a module that comes or goes may run at any time.
    if object.name.is_none() && !moving && !expected {
        return Err(format!("the callback {which} runs outside of a transition"));
    }
    Ok(())
}
