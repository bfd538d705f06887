// SPDX-License-Identifier: GPL-2.0

//! ftrace: the hooked functions, and the code that a call reaches.

use crate::faults::Operation;
use crate::script::{access, Access};
use crate::simulation::{allocate, Simulation};
use crate::tasks::{Quiesced, SimulatedTask};
use kernel::prelude::*;
use livepatch_core::dispatch::{Refusal, Tracer};
use livepatch_core::settle::Settle;
use livepatch_core::site::{Site, Target, View};
use livepatch_core::task::Task;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

/// The offset in a function where ftrace takes over, behind the instruction that marks the entry.
pub const OFFSET: usize = 4;

/// A hook as the handler knows it.
pub struct Operations {
    location: usize,
    site: Site,
    /// Whether the handler finds the hook.
    attached: Cell<bool>,
    /// How often the core had waited when a handler could last find the hook. `None`: no handler
    /// can have found it.
    found: Cell<Option<usize>>,
    /// Whether calls may bypass the handler.
    settles: Cell<bool>,
    /// The target of calls that bypass the handler.
    direct: Cell<Option<Target>>,
}

impl Operations {
    fn function(&self) -> usize {
        self.location - OFFSET
    }

    /// Returns the view that calls get, with or without the handler.
    fn view(&self) -> View {
        match self.direct.get() {
            Some(target) => View::Settled(target),
            None => self.site.view(),
        }
    }
}

/// The core's end of a hook.
pub struct Hook(Rc<Operations>);

impl Drop for Hook {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.0.found.get(), None, "a hook was dropped, not freed");
        }
    }
}

/// The state of ftrace, and all hooks that exist.
#[derive(Default)]
pub struct Ftrace {
    hooks: RefCell<Vec<Weak<Operations>>>,
    /// The locations that the handler is called for while ftrace is registered.
    filter: RefCell<BTreeSet<usize>>,
    registered: Cell<bool>,
    /// Locations that were refused once. Each is refused again when it is next tried.
    refused: RefCell<BTreeMap<usize, Refusal>>,
    /// Whether ftrace has shut itself down.
    pub dead: Cell<bool>,
    /// The number of times that ftrace reports that it is busy, before it attaches anything.
    pub busy: Cell<usize>,
    /// The number of batches that were attached, and of those that were detached.
    pub batches: Cell<(usize, usize)>,
}

impl Ftrace {
    fn hooks(&self) -> Vec<Rc<Operations>> {
        let mut hooks = self.hooks.borrow_mut();
        hooks.retain(|hook| hook.strong_count() > 0);
        hooks.iter().filter_map(Weak::upgrade).collect()
    }

    fn attached(&self) -> impl Iterator<Item = Rc<Operations>> {
        let hooks = self.hooks().into_iter();
        hooks.filter(|hook| hook.attached.get())
    }

    /// Returns the hooked functions, each with the view that its calls get.
    pub fn hooked(&self) -> Vec<(usize, View)> {
        let mut hooked: Vec<_> = self
            .attached()
            .map(|hook| (hook.function(), hook.view()))
            .collect();
        hooked.sort_by_key(|&(function, _)| function);
        hooked
    }

    /// Whether the function has a hook, attached or not.
    pub fn has_hook(&self, function: usize) -> bool {
        self.hooks().iter().any(|hook| hook.function() == function)
    }

    /// Switches the machine off: hooks may be dropped while they are attached.
    pub(crate) fn power_off(&self) {
        for hook in self.hooks() {
            hook.found.set(None);
        }
    }

    /// Returns the functions whose calls go straight to the replacement.
    pub fn settled(&self) -> Vec<usize> {
        let attached = self.attached();
        let settled = attached.filter(|hook| hook.direct.get().is_some());
        settled.map(|hook| hook.function()).collect()
    }

    /// Returns the number of locations that the handler is called for.
    pub fn filtered(&self) -> usize {
        self.filter.borrow().len()
    }

    /// Sets the filter to the locations that are attached.
    fn set_filter(&self) {
        let locations = self.attached().map(|hook| hook.location).collect();
        self.filter.replace(locations);
        assert!(
            self.filtered() > 0 || !self.registered.get(),
            "without a filter all functions are traced"
        );
    }
}

impl Simulation {
    /// Returns the code that a call of `function` by `task` runs, as the ftrace handler decides.
    pub fn dispatch(&self, task: &SimulatedTask, function: usize) -> usize {
        let location = function + OFFSET;
        if !self.ftrace.registered.get() || !self.ftrace.filter.borrow().contains(&location) {
            return function;
        }
        let hook = self
            .ftrace
            .attached()
            .find(|hook| hook.location == location);
        match hook.map(|hook| hook.view().choose(|| task.state())) {
            Some(Target::Replacement(address)) => address,
            Some(Target::Original) | None => function,
        }
    }

    /// Returns an error if ftrace refuses to attach the location.
    fn refusal(&self, location: usize) -> Result<(), Refusal> {
        let refused = self.ftrace.refused.borrow_mut().remove(&location);
        refused.map_or(Ok(()), Err)?;
        allocate().map_err(Refusal::Filter)?;
        let check = |operation| self.faults.check(operation);
        let result = check(Operation::Filter)
            .map_err(Refusal::Filter)
            .and_then(|()| check(Operation::Register).map_err(Refusal::Register));
        if let Err(refusal) = result {
            self.ftrace.refused.borrow_mut().insert(location, refusal);
        }
        result
    }
}

impl Tracer for Simulation {
    type Hook = Hook;

    const CALL_SIZE: usize = 8;

    fn location(&self, function: usize) -> Option<usize> {
        let traceable = self.code.at(function)?.traceable;
        traceable.then_some(function + OFFSET)
    }

    fn new_hook(&self, location: usize, site: Site) -> Result<Hook> {
        allocate()?;
        let hook = Rc::new(Operations {
            location,
            site,
            attached: Cell::new(false),
            found: Cell::new(None),
            settles: Cell::new(false),
            direct: Cell::new(None),
        });
        self.ftrace.hooks.borrow_mut().push(Rc::downgrade(&hook));
        Ok(Hook(hook))
    }

    fn site<'a>(&self, hook: &'a Hook) -> &'a Site {
        self.point();
        access(Access::Site(hook.0.function()));
        &hook.0.site
    }

    fn attach(&self, hooks: &[&Hook]) -> Result<(), Refusal> {
        self.may_sleep();
        assert!(!hooks.is_empty(), "nothing to attach");
        // Handlers may find the hooks even if they are refused in the end.
        let now = self.machine.waits();
        hooks.iter().for_each(|hook| hook.0.found.set(Some(now)));
        if let Some(left) = self.ftrace.busy.get().checked_sub(1) {
            self.ftrace.busy.set(left);
            return Err(Refusal::Register(EAGAIN));
        }
        for hook in hooks {
            let location = hook.0.location;
            self.refusal(location)?;
        }
        for hook in hooks {
            self.point();
            access(Access::Register(hook.0.function()));
            assert!(!hook.0.attached.replace(true), "attached twice");
        }
        self.ftrace.set_filter();
        self.ftrace.registered.set(true);
        let (attached, detached) = self.ftrace.batches.get();
        self.ftrace.batches.set((attached + 1, detached));
        Ok(())
    }

    fn detach(&self, hooks: &mut dyn Iterator<Item = &Hook>) {
        self.may_sleep();
        let (attached, detached) = self.ftrace.batches.get();
        self.ftrace.batches.set((attached, detached + 1));
        for hook in hooks {
            self.point();
            access(Access::Unregister(hook.0.function()));
            // If the tracer is dead, a branch may remain in the code of a module that goes.
            let direct = hook.0.direct.take();
            assert!(direct.is_none() || self.is_dead(), "detached while settled");
            assert!(hook.0.attached.replace(false), "detached twice");
            hook.0.found.set(Some(self.machine.waits()));
        }
        let last = self.ftrace.attached().next().is_none();
        if last && kernel::warn_on!(self.faults.check(Operation::Unregister).is_err()) {
            return;
        }
        if last {
            self.ftrace.registered.set(false);
        }
        if self.faults.check(Operation::Unfilter).is_ok() {
            self.ftrace.set_filter();
        }
    }

    fn free(&self, hook: Hook, quiesced: &Quiesced) {
        assert!(!hook.0.attached.get(), "a hook was freed that is attached");
        let found = hook.0.found.take();
        assert!(
            found.is_none_or(|found| quiesced.is_after(found)),
            "a hook was freed whose handlers may still be running"
        );
    }

    fn is_dead(&self) -> bool {
        self.ftrace.dead.get()
    }
}

impl Settle for Simulation {
    const SETTLES: bool = true;

    fn set_settles(&self, hook: &Hook, settles: bool) {
        hook.0.settles.set(settles);
    }

    fn settle(&self) {
        self.may_sleep();
        for hook in self.ftrace.attached() {
            if !hook.settles.get() || hook.direct.get().is_some() {
                continue;
            }
            let View::Settled(target) = hook.site.view() else {
                panic!("settled in a transition");
            };
            if target != Target::Original && self.faults.check(Operation::Settle).is_ok() {
                self.point();
                hook.direct.set(Some(target));
            }
        }
    }

    fn unsettle(&self) -> Result {
        self.may_sleep();
        let hooks = self.ftrace.attached();
        let leaving = hooks.filter(|hook| !hook.settles.get() && hook.direct.get().is_some());
        let leaving: Vec<_> = leaving.collect();
        if !leaving.is_empty() {
            if self.is_dead() {
                return Err(ENODEV);
            }
            self.faults.check(Operation::Unsettle)?;
        }
        for hook in leaving {
            self.point();
            hook.direct.set(None);
        }
        Ok(())
    }
}
