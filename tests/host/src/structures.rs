// SPDX-License-Identifier: GPL-2.0

//! The structures that describe patches, and the world around them: sysfs, modules, callbacks.

use crate::faults::Operation;
use crate::script::{access, Access};
use crate::simulation::{allocate, Simulation};
use kernel::prelude::*;
use kernel::print::{print, Level};
use livepatch_core::patch::{self, Callbacks, Function, Modules, Patch};
use livepatch_core::stack::Range;
use livepatch_core::symbol::{object_text, Name};
use livepatch_core::sysfs::Directories;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeSet;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);
    )*};
}

handles! {
    /// Handle of a patch.
    PatchId,
    /// Handle of an object.
    ObjectId,
    /// Handle of a function.
    FunctionId,
    /// Handle of a module that can be patched.
    ModuleId
}

/// `struct klp_patch`, with its module.
#[derive(Clone, Debug, Default)]
pub struct PatchStructure {
    /// The module's name.
    pub name: String,
    /// The number of references to the module.
    pub references: usize,
    /// Whether the core has prepared the structure for use: it has lists and a kobject.
    pub prepared: bool,
    /// The `enabled` field that the core wrote back.
    pub enabled: bool,
    /// The `forced` field that the core wrote back.
    pub forced: bool,
    directory: Option<String>,
}

/// `struct klp_object`.
#[derive(Clone, Debug)]
pub struct ObjectStructure {
    patch: PatchId,
    name: Option<String>,
    callbacks: bool,
    /// Whether it is on its patch's list.
    pub alive: bool,
    /// Whether the core created it.
    pub dynamic: bool,
    /// The module that the core wrote back.
    pub module: Option<ModuleId>,
    /// The `patched` field that the core wrote back.
    pub patched: bool,
    directory: Option<String>,
}

/// `struct klp_func`.
#[derive(Clone, Debug)]
pub struct FunctionStructure {
    /// Whether it is on its object's list.
    pub alive: bool,
    /// Whether the core created it as a nop.
    pub nop: bool,
    /// The fields that the core wrote back: original, replacement, `patched`, `transition`.
    pub mirror: (Range, Range, bool, bool),
    directory: Option<String>,
}

/// The life stage of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModuleState {
    /// Its code has not run yet.
    Coming,
    /// It is loaded.
    Live,
    /// It is being unloaded.
    Going,
    /// It is not loaded.
    Gone,
}

/// A module that can be patched.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its life stage.
    pub state: ModuleState,
    /// `klp_alive`
    pub alive: bool,
}

/// All structures, all modules, and sysfs.
#[derive(Default)]
pub struct Structures {
    pub(crate) patches: RefCell<Vec<PatchStructure>>,
    pub(crate) objects: RefCell<Vec<ObjectStructure>>,
    pub(crate) functions: RefCell<Vec<FunctionStructure>>,
    pub(crate) modules: RefCell<Vec<Module>>,
    pub(crate) sysfs: RefCell<BTreeSet<String>>,
    pub(crate) listed: RefCell<Vec<PatchId>>,
    pub(crate) deferred: RefCell<Vec<PatchId>>,
    pub(crate) transition: Cell<Option<PatchId>>,
    pub(crate) relocated: RefCell<BTreeSet<(PatchId, String)>>,
}

fn text(name: &Name) -> String {
    String::from_utf8(name.as_bytes().to_vec()).expect("names in tests are UTF-8")
}

impl Structures {
    /// Adds the patch of a livepatch module.
    pub fn new_patch(&self, name: &str) -> PatchId {
        let mut patches = self.patches.borrow_mut();
        patches.push(PatchStructure {
            name: name.to_owned(),
            ..PatchStructure::default()
        });
        PatchId(patches.len() - 1)
    }

    /// Adds an object to a patch.
    pub fn add_object(&self, patch: PatchId, name: Option<&str>, callbacks: bool) -> ObjectId {
        let mut objects = self.objects.borrow_mut();
        objects.push(ObjectStructure {
            patch,
            name: name.map(str::to_owned),
            callbacks,
            alive: false,
            dynamic: false,
            module: None,
            patched: false,
            directory: None,
        });
        ObjectId(objects.len() - 1)
    }

    /// Adds a function. Returns its handle.
    pub fn add_function(&self) -> FunctionId {
        let mut functions = self.functions.borrow_mut();
        let nowhere = Range { start: 0, size: 0 };
        functions.push(FunctionStructure {
            alive: false,
            nop: false,
            mirror: (nowhere, nowhere, false, false),
            directory: None,
        });
        FunctionId(functions.len() - 1)
    }

    fn object(&self, object: ObjectId) -> RefMut<'_, ObjectStructure> {
        let object = RefMut::map(self.objects.borrow_mut(), |all| &mut all[object.0]);
        assert!(object.alive, "an object that was given up is in use");
        object
    }

    fn function(&self, function: FunctionId) -> RefMut<'_, FunctionStructure> {
        let function = RefMut::map(self.functions.borrow_mut(), |all| &mut all[function.0]);
        assert!(function.alive, "a function that was given up is in use");
        function
    }

    /// Creates a directory in sysfs.
    fn publish(&self, path: String) -> Result<Option<String>> {
        allocate()?;
        if let Some((parent, _)) = path.rsplit_once('/') {
            assert!(self.sysfs.borrow().contains(parent), "no parent for {path}");
        }
        if !self.sysfs.borrow_mut().insert(path.clone()) {
            return Err(EEXIST);
        }
        Ok(Some(path))
    }

    fn unpublish(&self, directory: Option<String>) {
        if let Some(path) = directory {
            assert!(
                self.sysfs.borrow_mut().remove(&path),
                "{path} is gone already"
            );
        }
    }

    /// Returns the paths below `/sys/kernel/livepatch`.
    pub fn sysfs(&self) -> Vec<String> {
        self.sysfs.borrow().iter().cloned().collect()
    }

    /// Returns a copy of the patch's structure.
    pub fn patch(&self, patch: PatchId) -> PatchStructure {
        self.patches.borrow()[patch.0].clone()
    }

    /// Whether the patch is on the list that debuggers read.
    pub fn is_listed(&self, patch: PatchId) -> bool {
        self.listed.borrow().contains(&patch)
    }

    /// Adds a module that can be patched and is not loaded.
    pub fn add_module(&self, name: &str) -> ModuleId {
        let mut modules = self.modules.borrow_mut();
        modules.push(Module {
            name: name.to_owned(),
            state: ModuleState::Gone,
            alive: false,
        });
        ModuleId(modules.len() - 1)
    }

    /// Returns the module `name`.
    pub fn module(&self, name: &str) -> Option<(ModuleId, Module)> {
        let modules = self.modules.borrow();
        let index = modules.iter().position(|module| module.name == name)?;
        Some((ModuleId(index), modules[index].clone()))
    }

    pub(crate) fn set_alive(&self, module: ModuleId, alive: bool) {
        self.modules.borrow_mut()[module.0].alive = alive;
    }

    pub(crate) fn set_module_state(&self, module: ModuleId, state: ModuleState) {
        self.modules.borrow_mut()[module.0].state = state;
    }

    /// Whether the klp relocations of `patch` against the module `object` have been written.
    pub fn is_relocated(&self, patch: PatchId, object: &str) -> bool {
        self.relocated
            .borrow()
            .contains(&(patch, object.to_owned()))
    }

    /// Takes a reference to the module of a patch.
    pub(crate) fn get_module(&self, patch: PatchId) {
        self.patches.borrow_mut()[patch.0].references += 1;
    }

    /// Drops a reference to the module of a patch.
    pub(crate) fn put_module(&self, patch: PatchId) {
        self.patches.borrow_mut()[patch.0].references -= 1;
    }

    /// Removes a patch's directory and drops the reference to its module. This is the part that
    /// runs without the core's lock.
    pub fn finish(&self, patch: PatchId) {
        let directory = self.patches.borrow_mut()[patch.0].directory.take();
        self.unpublish(directory);
        let structure = &mut self.patches.borrow_mut()[patch.0];
        if !structure.forced {
            assert_eq!(structure.references, 1, "references of {}", structure.name);
            structure.references = 0;
        }
    }

    /// Prints what the selftests' callbacks print.
    fn callback(&self, name: &str, object: ObjectId) {
        let object = self.object(object).clone();
        if !object.callbacks {
            return;
        }
        let patch = self.patch(object.patch).name;
        let Some(module) = &object.name else {
            return print(
                Level::Info,
                format_args!("{patch}: {name}_callback: vmlinux\n"),
            );
        };
        assert!(
            object.module.is_some(),
            "the callback's module is not there"
        );
        let state = match self.module(module).map(|(_, module)| module.state) {
            Some(ModuleState::Coming) => "[MODULE_STATE_COMING] Full formed, running module_init",
            Some(ModuleState::Live) => "[MODULE_STATE_LIVE] Normal state",
            Some(ModuleState::Going) => "[MODULE_STATE_GOING] Going away",
            Some(ModuleState::Gone) | None => panic!("{module} is not there"),
        };
        print(
            Level::Info,
            format_args!("{patch}: {name}_callback: {module} -> {state}\n"),
        );
    }
}

/// The numbers in place of structures give no access to them, so they may be copied.
impl patch::Structures for Simulation {
    type Patch = PatchId;
    type PatchId = PatchId;
    type Object = ObjectId;
    type Function = FunctionId;
    type FunctionId = FunctionId;
    type Module = ModuleId;

    fn patch_id(patch: &PatchId) -> PatchId {
        *patch
    }

    fn function_id(function: &FunctionId) -> FunctionId {
        *function
    }

    fn prepare(&self, patch: &Patch<Self>) {
        let structures = &self.structures;
        let structure = &mut structures.patches.borrow_mut()[patch.handle.0];
        assert!(!structure.prepared, "{} is in use", structure.name);
        structure.prepared = true;
        for object in &patch.objects {
            structures.objects.borrow_mut()[object.handle.0].alive = true;
            for function in &object.functions {
                structures.functions.borrow_mut()[function.handle.0].alive = true;
            }
        }
    }

    fn new_object(&self, patch: &PatchId, name: Option<&Name>) -> Result<ObjectId> {
        allocate()?;
        let id = self
            .structures
            .add_object(*patch, name.map(text).as_deref(), false);
        let object = &mut self.structures.objects.borrow_mut()[id.0];
        object.alive = true;
        object.dynamic = true;
        Ok(id)
    }

    fn new_nop(&self, object: &ObjectId, _name: &Name, _position: usize) -> Result<FunctionId> {
        allocate()?;
        drop(self.structures.object(*object));
        let id = self.structures.add_function();
        let function = &mut self.structures.functions.borrow_mut()[id.0];
        function.alive = true;
        function.nop = true;
        Ok(id)
    }

    fn release_function(&self, function: FunctionId) {
        let mut structure = self.structures.function(function);
        structure.alive = false;
        let directory = structure.directory.take();
        drop(structure);
        self.structures.unpublish(directory);
    }

    fn release_object(&self, object: ObjectId) {
        let mut structure = self.structures.object(object);
        structure.alive = false;
        let directory = structure.directory.take();
        drop(structure);
        self.structures.unpublish(directory);
    }

    fn list(&self, patch: &PatchId, listed: bool) {
        let mut list = self.structures.listed.borrow_mut();
        let before = list.len();
        list.retain(|own| own != patch);
        assert_eq!(listed, list.len() == before, "wrong use of the list");
        if listed {
            list.push(*patch);
        }
    }

    fn free_later(&self, patch: PatchId, forced: bool) {
        assert_eq!(self.structures.patch(patch).forced, forced);
        self.structures.deferred.borrow_mut().push(patch);
    }

    fn mirror_patch(&self, patch: &PatchId, enabled: bool, forced: bool) {
        self.point();
        let structure = &mut self.structures.patches.borrow_mut()[patch.0];
        structure.enabled = enabled;
        structure.forced = forced;
    }

    fn mirror_object(&self, object: &ObjectId, module: Option<ModuleId>, patched: bool) {
        let mut structure = self.structures.object(*object);
        structure.module = module;
        structure.patched = patched;
    }

    fn mirror_function(&self, function: &Function<Self>) {
        self.structures.function(function.handle).mirror = (
            function.old,
            function.new,
            function.patched,
            function.transition,
        );
    }

    fn mirror_transition(&self, patch: Option<&PatchId>) {
        self.point();
        self.structures.transition.set(patch.copied());
    }
}

impl Directories for Simulation {
    fn publish_patch(&self, patch: &Patch<Self>) -> Result {
        let directory = self.structures.publish(text(&patch.name))?;
        self.structures.patches.borrow_mut()[patch.handle.0].directory = directory;
        Ok(())
    }

    fn publish_object(&self, patch: &PatchId, object: &ObjectId, name: Option<&Name>) -> Result {
        let parent = self.structures.patch(*patch).name;
        let path = format!("{parent}/{}", object_text(name));
        let directory = self.structures.publish(path)?;
        self.structures.object(*object).directory = directory;
        Ok(())
    }

    fn publish_function(
        &self,
        object: &ObjectId,
        function: &FunctionId,
        name: &Name,
        position: usize,
    ) -> Result {
        let parent = self.structures.object(*object).directory.clone();
        let path = format!("{}/{name},{position}", parent.expect("a published object"));
        let directory = self.structures.publish(path)?;
        self.structures.function(*function).directory = directory;
        Ok(())
    }
}

impl Callbacks for Simulation {
    fn pre_patch(&self, object: &ObjectId) -> Result {
        self.may_sleep();
        self.point();
        access(Access::Callback("pre_patch", *object));
        self.structures.callback("pre_patch", *object);
        if self.structures.object(*object).callbacks {
            self.faults.check(Operation::PrePatch)?;
        }
        Ok(())
    }

    fn post_patch(&self, object: &ObjectId) {
        self.may_sleep();
        self.point();
        access(Access::Callback("post_patch", *object));
        self.structures.callback("post_patch", *object);
    }

    fn pre_unpatch(&self, object: &ObjectId) {
        self.may_sleep();
        self.point();
        access(Access::Callback("pre_unpatch", *object));
        self.structures.callback("pre_unpatch", *object);
    }

    fn post_unpatch(&self, object: &ObjectId) {
        self.may_sleep();
        self.point();
        access(Access::Callback("post_unpatch", *object));
        self.structures.callback("post_unpatch", *object);
    }
}

impl Modules for Simulation {
    fn find_module(&self, name: &Name) -> Option<ModuleId> {
        let (id, module) = self.structures.module(&text(name))?;
        (module.state != ModuleState::Gone && module.alive).then_some(id)
    }

    fn relocate(&self, patch: &PatchId, object: &Name, apply: bool) -> Result {
        let key = (*patch, text(object));
        if !apply {
            self.structures.relocated.borrow_mut().remove(&key);
            return Ok(());
        }
        self.faults.check(Operation::Relocate)?;
        // A relocation that is already written is refused, as in the architectures' code.
        if self.structures.relocated.borrow_mut().insert(key) {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }
}
