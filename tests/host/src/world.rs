// SPDX-License-Identifier: GPL-2.0

//! The world: a machine with the core in it, as the administrator and the module loader see it.

use crate::check::Universes;
use crate::code::contains;
use crate::faults::Operation;
use crate::recipe::Recipe;
use crate::simulation::Simulation;
use crate::step::Step;
use crate::structures::{ModuleState, PatchId};
use crate::tasks::TaskId;
use kernel::prelude::*;
use kernel::print::{self, Level};
use livepatch_core::patch::{Function, Object, Patch};
use livepatch_core::registry::{Core, NotEnabled};
use livepatch_core::stack::Range;
use livepatch_core::state::SystemState;
use livepatch_core::symbol::Name;
use livepatch_core::sysfs::Writable;
use livepatch_core::task::State;
use livepatch_core::transition::Deadline;
use std::cell::Cell;

/// A machine.
pub struct World {
    /// The kernel around the core.
    pub kernel: Simulation,
    /// The core.
    pub core: Core<Simulation>,
    /// The deadline that patches start with.
    pub deadline: Deadline,
    /// Whether a transition was forced. Nothing guarantees the consistency of tasks after that.
    pub forced: bool,
    dmesg: Vec<(Level, String)>,
    /// The code that the last check found to be changing.
    pub(crate) changing: Cell<Option<Universes>>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kernel.ftrace.power_off();
    }
}

impl World {
    /// Creates a machine with two CPUs, two user tasks and a kthread, all asleep. The kernel has
    /// three functions (`cmdline`, `meminfo`, `uptime`). A module `target` with the functions
    /// `show` and `store` is not loaded.
    pub fn new() -> Self {
        let world = Self::empty();
        for _ in 0..2 {
            world.kernel.machine.add_cpu();
            world.kernel.machine.add_thread(false);
        }
        world.kernel.machine.add_thread(true);
        for function in ["cmdline", "meminfo", "uptime"] {
            world.kernel.code.add(None, function);
        }
        world.kernel.structures.add_module("target");
        world
    }

    /// Creates an empty machine.
    pub fn empty() -> Self {
        let _ = print::take();
        let _ = print::take_warnings();
        Self {
            kernel: Simulation::default(),
            core: Core::new(),
            deadline: Deadline::OFF,
            forced: false,
            dmesg: Vec::new(),
            changing: Cell::new(None),
        }
    }

    /// Returns the log since the last call, prefixed as in the kernel. It leaves out the lines
    /// about single tasks, which the selftests turn off.
    pub fn dmesg(&mut self) -> Vec<String> {
        let mut log = self.full_dmesg();
        log.retain(|line| !line.starts_with("livepatch: klp_try_switch_task"));
        log
    }

    /// Returns the whole log since the last call.
    pub fn full_dmesg(&mut self) -> Vec<String> {
        self.dmesg.extend(print::take());
        self.dmesg
            .drain(..)
            .map(|(level, text)| {
                let text = text.strip_suffix('\n').expect("a message ends its line");
                match level {
                    // These messages come from modules and have a prefix of their own.
                    Level::Info => text.to_owned(),
                    _ => format!("livepatch: {text}"),
                }
            })
            .collect()
    }

    /// Returns the address of a function of the kernel, or of the module `target`.
    pub fn function(&self, name: &str) -> usize {
        let code = &self.kernel.code;
        code.address(None, name)
            .or_else(|| code.address(Some("target"), name))
            .unwrap_or_else(|| panic!("no function {name}"))
    }

    /// Takes steps, all of which must be possible.
    pub fn steps(&mut self, steps: &[Step]) {
        for &step in steps {
            assert!(self.kernel.step(step).is_some(), "{step:?} is not possible");
        }
    }

    /// Returns the name of the code that a call of `function` by `task` runs, such as
    /// `vmlinux:cmdline` or `patch:cmdline`.
    pub fn call(&self, task: TaskId, function: &str) -> String {
        let task = self.kernel.machine.task(task).expect("a task");
        let address = self.kernel.dispatch(&task, self.function(function));
        let code = self.kernel.code.at(address).expect("code at the address");
        format!(
            "{}:{}",
            code.object.as_deref().unwrap_or("vmlinux"),
            code.name
        )
    }

    /// Loads a livepatch module, which enables its patch.
    pub fn insmod(&mut self, recipe: &Recipe) -> Result<PatchId> {
        let id = self.kernel.structures.new_patch(&recipe.name);
        let result = self.enable(id, recipe);
        if result.is_err() {
            self.remove_code(&recipe.name);
        }
        result.map(|()| id)
    }

    /// Enables the patch of a livepatch module that is loading.
    pub fn enable(&mut self, id: PatchId, recipe: &Recipe) -> Result {
        let patch = self.read(id, recipe)?;
        self.kernel.faults.check(Operation::GetModule)?;
        self.kernel.structures.get_module(id);
        self.core
            .enable(&self.kernel, patch)
            .map_err(|not_enabled| match not_enabled {
                NotEnabled::Refused(error) => {
                    self.kernel.structures.put_module(id);
                    error
                }
                NotEnabled::Undone(error, patch) => {
                    self.kernel.structures.finish(patch);
                    error
                }
            })
    }

    /// Reads a module's structures, as the bridge does. The caller has to have a reference to the
    /// module before the core gets them.
    pub fn read(&self, id: PatchId, recipe: &Recipe) -> Result<Patch<Simulation>> {
        let kernel = &self.kernel;
        let mut states = KVec::new();
        for &(id, version) in &recipe.states {
            states.push(SystemState { id, version }, GFP_KERNEL)?;
        }
        let name = Name::new(recipe.name.as_bytes())?;
        let mut patch = Patch::new(id, name, recipe.replace, states);
        patch.deadline = self.deadline;
        for recipe_object in &recipe.objects {
            let name = recipe_object.name.as_deref();
            let handle = kernel
                .structures
                .add_object(id, name, recipe_object.callbacks);
            let name = name.map(|name| Name::new(name.as_bytes())).transpose()?;
            let mut object = Object::new(handle, name);
            for function in &recipe_object.functions {
                let new = if function.replacement {
                    kernel.code.add(Some(&recipe.name), &function.name)
                } else {
                    0
                };
                let handle = kernel.structures.add_function();
                let name = Name::new(function.name.as_bytes())?;
                let function = Function::new(handle, name, function.position, new);
                object.functions.push(function, GFP_KERNEL)?;
            }
            patch.objects.push(object, GFP_KERNEL)?;
        }
        Ok(patch)
    }

    /// Writes 0 or 1 to a patch's `enabled`, even if its directory is gone.
    pub fn write_enabled(&mut self, patch: PatchId, text: &str) -> Result {
        let value = match text {
            "0" => false,
            "1" => true,
            _ => panic!("not a boolean: {text}"),
        };
        self.core
            .store(&self.kernel, patch, Writable::Enabled, value)
    }

    /// Writes 1 to a patch's `force`.
    pub fn force(&mut self, patch: PatchId) -> Result {
        let result = self.core.store(&self.kernel, patch, Writable::Force, true);
        self.forced |= result.is_ok();
        result
    }

    /// Advances the time to the next retry and runs it, if one was asked for.
    pub fn tick(&mut self) {
        let machine = &self.kernel.machine;
        if let Some(delay) = machine.retry.take() {
            machine.clock.set(machine.clock.get() + delay);
            self.core.retry(&self.kernel);
        }
    }

    /// Sends the idle CPUs that were woken through their loops.
    pub fn idle_loops(&self) {
        for (number, cpu) in (0..).zip(self.kernel.machine.cpus()) {
            if cpu.woken.get() {
                let _ = self.kernel.step(Step::IdleLoop(number));
            }
        }
    }

    /// Sends the woken idle tasks through their loops, and ticks. Returns whether no transition is
    /// left.
    pub fn settle(&mut self) -> bool {
        self.idle_loops();
        self.tick();
        self.kernel.machine.target() == State::Idle
    }

    /// Runs the work that frees disabled patches.
    pub fn run_deferred(&mut self) {
        for patch in self.kernel.structures.deferred.take() {
            self.kernel.structures.finish(patch);
        }
    }

    /// Unloads a livepatch module. Returns `EBUSY` while the module is referenced.
    pub fn rmmod(&mut self, patch: PatchId) -> Result {
        let structure = self.kernel.structures.patch(patch);
        if structure.references > 0 {
            return Err(EBUSY);
        }
        self.remove_code(&structure.name);
        Ok(())
    }

    /// Takes a module's code out of memory. No task may be in it, and no call may be sent there.
    fn remove_code(&self, object: &str) {
        let gone: Vec<Range> = self.kernel.code.remove(object);
        let in_code = |address: usize| gone.iter().any(|&range| contains(range, address));
        for task in self.kernel.machine.tasks() {
            let stack = task.stack.borrow();
            assert!(
                !stack.iter().any(|&address| in_code(address)),
                "the code of {object} goes while {} is in it",
                task.name()
            );
        }
        for (function, view) in self.kernel.ftrace.hooked() {
            for state in [State::Patched, State::Unpatched] {
                let target = view.choose(|| state);
                if let livepatch_core::site::Target::Replacement(address) = target {
                    assert!(
                        !in_code(address),
                        "calls of {function:#x} go to {object}, which is gone"
                    );
                }
            }
            assert!(
                !in_code(function),
                "a function of {object}, which is gone, is hooked"
            );
        }
    }

    /// Loads the module `name`. Returns the core's error if the core refuses it; then it is not
    /// loaded.
    pub fn load_module(&mut self, name: &str) -> Result {
        let structures = &self.kernel.structures;
        let (id, module) = structures.module(name).expect("a known module");
        assert_eq!(module.state, ModuleState::Gone);
        for function in ["show", "store"] {
            self.kernel.code.add(Some(name), function);
        }
        structures.set_module_state(id, ModuleState::Coming);
        structures.set_alive(id, true);
        let result = self.core.module_coming(&self.kernel, id, name.as_bytes());
        let structures = &self.kernel.structures;
        if result.is_ok() {
            structures.set_module_state(id, ModuleState::Live);
        } else {
            structures.set_alive(id, false);
            structures.set_module_state(id, ModuleState::Gone);
            self.remove_code(name);
        }
        result
    }

    /// Whether the module `name` can be unloaded: no task is in its functions or in their
    /// replacements.
    pub fn is_module_unused(&self, name: &str) -> bool {
        let mut ranges = Vec::new();
        for object in self.core.patches().iter().flat_map(|patch| &patch.objects) {
            if object.is_module(name.as_bytes()) {
                ranges.extend(object.functions.iter().map(|function| function.new));
            }
        }
        let tasks = self.kernel.machine.tasks();
        !tasks.iter().any(|task| {
            task.stack.borrow().iter().any(|&address| {
                let own = self.kernel.code.at(address);
                own.is_none_or(|code| code.object.as_deref() == Some(name))
                    || ranges.iter().any(|&range| contains(range, address))
            })
        })
    }

    /// Unloads the module `name`, which is loaded and [unused](Self::is_module_unused).
    pub fn unload_module(&mut self, name: &str) {
        let structures = &self.kernel.structures;
        let (id, module) = structures.module(name).expect("a known module");
        assert_eq!(module.state, ModuleState::Live);
        structures.set_module_state(id, ModuleState::Going);
        structures.set_alive(id, false);
        self.core.module_going(&self.kernel, name.as_bytes());
        self.kernel
            .structures
            .set_module_state(id, ModuleState::Gone);
        self.remove_code(name);
    }

    /// Whether the module `name` is loaded.
    pub fn is_loaded(&self, name: &str) -> bool {
        let module = self.kernel.structures.module(name);
        module.is_some_and(|(_, module)| module.state == ModuleState::Live)
    }
}
