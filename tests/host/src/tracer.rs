// SPDX-License-Identifier: GPL-2.0

//! ftrace: which functions are hooked, and where a call goes.

use crate::faults::Operation;
use crate::script::{access, Access};
use crate::simulation::{allocate, Simulation};
use crate::tasks::SimulatedTask;
use kernel::prelude::*;
use livepatch_core::dispatch::{Site, Target, Tracer, View};
use livepatch_core::transition::Task;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// Where in a function ftrace takes over: behind the instruction that marks the entry.
pub const OFFSET: usize = 4;

/// A hook as ftrace knows it.
pub struct Operations {
    location: usize,
    site: Site,
    filtered: Cell<bool>,
    registered: Cell<bool>,
}

impl Operations {
    fn function(&self) -> usize {
        self.location - OFFSET
    }
}

/// The core's end of a hook.
pub struct Hook(Rc<Operations>);

impl Drop for Hook {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                !self.0.registered.get(),
                "a hook was dropped that ftrace still calls"
            );
            assert!(
                !self.0.filtered.get(),
                "a hook was dropped whose filter is left"
            );
        }
    }
}

/// All hooks that exist.
#[derive(Default)]
pub struct Ftrace(RefCell<Vec<Weak<Operations>>>);

impl Ftrace {
    fn hooks(&self) -> Vec<Rc<Operations>> {
        let mut hooks = self.0.borrow_mut();
        hooks.retain(|hook| hook.strong_count() > 0);
        hooks.iter().filter_map(Weak::upgrade).collect()
    }

    /// The functions that go through a handler, with what it sees.
    pub fn hooked(&self) -> Vec<(usize, View)> {
        let mut hooked: Vec<_> = self
            .hooks()
            .iter()
            .filter(|hook| hook.registered.get())
            .map(|hook| (hook.function(), hook.site.view()))
            .collect();
        hooked.sort_by_key(|&(function, _)| function);
        hooked
    }

    /// The machine is switched off: hooks may go as they are.
    pub(crate) fn power_off(&self) {
        for hook in self.hooks() {
            hook.registered.set(false);
            hook.filtered.set(false);
        }
    }

    /// Number of locations with a filter, in effect or not.
    pub fn filtered(&self) -> usize {
        self.hooks()
            .iter()
            .filter(|hook| hook.filtered.get())
            .count()
    }
}

impl Simulation {
    /// The code that a call of `function` by `task` runs, as the ftrace handler decides it.
    pub fn dispatch(&self, task: &SimulatedTask, function: usize) -> usize {
        let hook = self.ftrace.hooks().into_iter().find(|hook| {
            hook.registered.get() && hook.filtered.get() && hook.location == function + OFFSET
        });
        match hook.map(|hook| hook.site.choose(|| task.state())) {
            Some(Target::Replacement(address)) => address,
            Some(Target::Original) | None => function,
        }
    }
}

impl Tracer for Simulation {
    type Hook = Hook;

    fn location(&self, function: usize) -> Option<usize> {
        let traceable = self.code.at(function)?.traceable;
        traceable.then_some(function + OFFSET)
    }

    fn new_hook(&self, location: usize, site: Site) -> Result<Hook> {
        allocate()?;
        let hook = Rc::new(Operations {
            location,
            site,
            filtered: Cell::new(false),
            registered: Cell::new(false),
        });
        self.ftrace.0.borrow_mut().push(Rc::downgrade(&hook));
        Ok(Hook(hook))
    }

    fn site<'a>(&self, hook: &'a Hook) -> &'a Site {
        self.point();
        access(Access::Site(hook.0.function()));
        &hook.0.site
    }

    fn set_filter(&self, hook: &Hook) -> Result {
        self.faults.check(Operation::Filter)?;
        assert!(!hook.0.filtered.replace(true), "the filter was set twice");
        Ok(())
    }

    fn clear_filter(&self, hook: &Hook) -> Result {
        self.faults.check(Operation::Unfilter)?;
        assert!(
            !hook.0.registered.get(),
            "without a filter all functions are traced"
        );
        assert!(
            hook.0.filtered.replace(false),
            "there was no filter to clear"
        );
        Ok(())
    }

    fn register(&self, hook: &Hook) -> Result {
        self.point();
        access(Access::Register(hook.0.function()));
        self.faults.check(Operation::Register)?;
        assert!(
            hook.0.filtered.get(),
            "without a filter all functions are traced"
        );
        assert!(
            !hook.0.registered.replace(true),
            "the hook was registered twice"
        );
        Ok(())
    }

    fn unregister(&self, hook: &Hook) -> Result {
        self.point();
        access(Access::Unregister(hook.0.function()));
        self.faults.check(Operation::Unregister)?;
        self.may_sleep();
        assert!(
            hook.0.registered.replace(false),
            "the hook was not registered"
        );
        self.point();
        access(Access::Drain(hook.0.function()));
        Ok(())
    }
}
