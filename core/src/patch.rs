// SPDX-License-Identifier: GPL-2.0

//! A patch, its objects and their functions, as the core keeps them.
//!
//! A livepatch module describes its patch in C structures (`struct klp_patch`, `klp_object`,
//! `klp_func`). The core reads them once and keeps its own state in the types of this module. Each
//! value owns the structure that it came from until it gives it up. At each change, the core writes
//! the fields that modules and debuggers read, through [`Structures`].

use super::{
    dispatch::{
        prologue,
        Addition,
        Redirections,
        Version, //
    },
    settle::Gear,
    site::Target,
    stack::{
        Check,
        Range,
        StackCheck, //
    },
    state::SystemState,
    symbol::{
        self,
        object_text,
        Name,
        Sizes, //
    },
    transition::{
        Counts,
        Deadline,
        Progress,
        Transition, //
    },
    Kernel,
};
use kernel::prelude::*;

/// Maximum length of a module's name, including its NUL (`MODULE_NAME_LEN`).
pub const MODULE_NAME_LEN: usize = 64 - size_of::<usize>();

/// What the core asks of the structures that describe a patch.
pub trait Structures: Sized {
    /// A `struct klp_patch`, with a reference to its module.
    type Patch;
    /// Identifies a patch, and gives no access to it.
    type PatchId: Copy + PartialEq;
    /// A `struct klp_object`.
    type Object;
    /// A `struct klp_func`.
    type Function;
    /// Identifies a function, and gives no access to it.
    type FunctionId: Copy + PartialEq;
    /// Identifies a module that can be patched, and gives no access to it.
    type Module: Copy;

    /// Returns the identity of a patch.
    fn patch_id(patch: &Self::Patch) -> Self::PatchId;
    /// Returns the identity of a function.
    fn function_id(function: &Self::Function) -> Self::FunctionId;

    /// Initializes the structures of a new patch (`klp_init_patch_early()`).
    fn prepare(&self, patch: &Patch<Self>)
    where
        Self: Kernel;
    /// Allocates the structure of an object that the patch itself does not have.
    fn new_object(&self, patch: &Self::Patch, name: Option<&Name>) -> Result<Self::Object>;
    /// Allocates the structure of a nop in `object`.
    fn new_nop(
        &self,
        object: &Self::Object,
        name: &Name,
        position: usize,
    ) -> Result<Self::Function>;
    /// Releases a function's directory, and its structure if [`Self::new_nop`] allocated it.
    fn release_function(&self, function: Self::Function);
    /// Releases an object's directory, and its structure if [`Self::new_object`] allocated it.
    fn release_object(&self, object: Self::Object);
    /// Adds the patch to, or removes it from, the list of patches that debuggers read.
    fn list(&self, patch: &Self::Patch, listed: bool);
    /// Schedules the release of the patch's directory and of the reference to its module, without
    /// the core's lock. If the patch was `forced`, the reference is kept.
    fn free_later(&self, patch: Self::Patch, forced: bool);

    /// Writes the fields of a patch that modules and debuggers read.
    fn mirror_patch(&self, patch: &Self::Patch, enabled: bool, forced: bool);
    /// Writes the fields of an object that modules and debuggers read.
    fn mirror_object(&self, object: &Self::Object, module: Option<Self::Module>, patched: bool);
    /// Writes the fields of a function that modules and debuggers read.
    fn mirror_function(&self, function: &Function<Self>)
    where
        Self: Kernel;
    /// Publishes which patch is in transition, if any.
    fn mirror_transition(&self, patch: Option<&Self::Patch>);
}

/// The callbacks of an object. An object need not have any.
pub trait Callbacks: Structures {
    /// Runs the object's `pre_patch` callback. A return value other than 0 is an error.
    fn pre_patch(&self, object: &Self::Object) -> Result;
    /// Runs the object's `post_patch` callback.
    fn post_patch(&self, object: &Self::Object);
    /// Runs the object's `pre_unpatch` callback.
    fn pre_unpatch(&self, object: &Self::Object);
    /// Runs the object's `post_unpatch` callback.
    fn post_unpatch(&self, object: &Self::Object);
}

/// What the core asks of the modules that can be patched.
pub trait Modules: Structures {
    /// Returns the loaded module `name`, if it can be patched now: `klp_module_coming()` has seen
    /// it and `klp_module_going()` has not.
    fn find_module(&self, name: &Name) -> Option<Self::Module>;
    /// Writes (`apply`) or clears the patch's klp relocations for the module `object`. If a write
    /// fails, the relocations that were already written are cleared.
    fn relocate(&self, patch: &Self::Patch, object: &Name, apply: bool) -> Result;
}

/// A function that a patch replaces.
pub struct Function<K: Kernel> {
    /// The function's structure.
    pub handle: K::Function,
    /// The function's number in the patch, counted from 0, once all functions are known.
    pub number: usize,
    /// The original's name.
    pub name: Name,
    /// The original's sympos.
    pub position: usize,
    /// Whether this is a nop: a temporary function that runs the original again, while a cumulative
    /// patch replaces older patches.
    pub nop: bool,
    /// The original's code. It starts at 0, where no code is, until the object is loaded.
    pub old: Range,
    /// Where the original calls the tracer. `None` if it does not.
    pub location: Option<usize>,
    /// The replacement's code.
    pub new: Range,
    /// Whether calls go through this version.
    pub patched: bool,
    /// Whether its patch is in transition.
    pub transition: bool,
}

impl<K: Kernel> Function<K> {
    /// Creates a function that is replaced by the code at `new`.
    pub fn new(handle: K::Function, name: Name, position: usize, new: usize) -> Self {
        Self {
            handle,
            number: 0,
            name,
            position,
            nop: false,
            old: Range { start: 0, size: 0 },
            location: None,
            new: Range {
                start: new,
                size: 0,
            },
            patched: false,
            transition: false,
        }
    }

    /// Returns which occurrence of the symbol is meant. A symbol that has to be unique is the
    /// first.
    fn occurrence(&self) -> usize {
        self.position.max(1)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.occurrence() == other.occurrence()
    }

    /// Returns the function's identity.
    pub fn id(&self) -> K::FunctionId {
        K::function_id(&self.handle)
    }

    /// Checks the function and creates its directory. C counterpart: `klp_init_func()`.
    fn publish(&self, kernel: &K, object: &K::Object) -> Result {
        if !self.nop && self.new.start == 0 {
            return Err(EINVAL);
        }
        if self.name.as_bytes().len() >= symbol::KSYM_NAME_LEN {
            return Err(EINVAL);
        }
        kernel.publish_function(object, &self.handle, &self.name, self.occurrence())
    }

    /// Looks up the sizes of the original and of the replacement, and the call of the tracer.
    ///
    /// `original` has the sizes of the object's symbols, `None` for the kernel itself.
    /// `replacement` has the sizes of the symbols of the patch's module.
    fn measure(&mut self, kernel: &K, original: Option<&Sizes>, replacement: &Sizes) -> Result {
        let size = match original {
            Some(sizes) => sizes.at(kernel, self.old.start),
            None => kernel.size_at(self.old.start),
        };
        let Some(size) = size else {
            pr_err!("kallsyms size lookup failed for '{}'\n", self.name);
            return Err(ENOENT);
        };
        self.old.size = size;
        if self.nop {
            self.new = self.old;
        } else {
            let Some(size) = replacement.at(kernel, self.new.start) else {
                pr_err!(
                    "kallsyms size lookup failed for '{}' replacement\n",
                    self.name
                );
                return Err(ENOENT);
            };
            self.new.size = size;
        }
        self.location = kernel.location(self.old.start);
        kernel.mirror_function(self);
        Ok(())
    }

    fn forget_code(&mut self, kernel: &K) {
        self.old.start = 0;
        if self.nop {
            self.new.start = 0;
        }
        kernel.mirror_function(self);
    }

    /// Returns the version that patching the function adds.
    fn addition(&self) -> Addition<'_, K::FunctionId> {
        Addition {
            function: self.old.start,
            location: self.location,
            name: &self.name,
            version: Version {
                function: self.id(),
                target: if self.nop {
                    Target::Original
                } else {
                    Target::Replacement(self.new.start)
                },
                code: self.new,
                in_transition: self.transition,
            },
        }
    }

    fn unpatch(&mut self, kernel: &K, sites: &mut Sites<K>) {
        sites.remove(kernel, self.old.start, self.id());
        self.patched = false;
        kernel.mirror_function(self);
    }

    /// Sets whether the function is in transition. C: `func->transition`.
    pub fn set_transition(&mut self, kernel: &K, sites: &mut Sites<K>, transition: bool) {
        self.transition = transition;
        if self.patched {
            sites.set_transition(kernel, self.old.start, self.id(), transition);
        }
        kernel.mirror_function(self);
    }
}

/// The patched functions of a kernel.
pub type Sites<K> =
    Redirections<<K as Structures>::FunctionId, <K as super::dispatch::Tracer>::Hook>;

/// Which of an object's functions an operation applies to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All functions.
    All,
    /// Only the nops.
    Nops,
}

/// An object that a patch touches: the kernel itself or a module.
pub struct Object<K: Kernel> {
    /// The object's structure.
    pub handle: K::Object,
    /// The module's name, `None` for the kernel itself.
    pub name: Option<Name>,
    /// Whether the core made the object, to hold nops.
    pub dynamic: bool,
    /// The module, while it is loaded.
    pub module: Option<K::Module>,
    /// Whether the functions have been patched.
    pub patched: bool,
    /// Whether the pre-patch callback has succeeded, so that the post-unpatch callback has to
    /// follow.
    post_unpatch_enabled: bool,
    /// The functions, in the order of the patch, with the nops last.
    pub functions: KVec<Function<K>>,
}

impl<K: Kernel> Object<K> {
    /// Creates an object without functions.
    pub fn new(handle: K::Object, name: Option<Name>) -> Self {
        Self {
            handle,
            name,
            dynamic: false,
            module: None,
            patched: false,
            post_unpatch_enabled: false,
            functions: KVec::new(),
        }
    }

    /// Whether the object is loaded. The kernel itself always is.
    pub fn is_loaded(&self) -> bool {
        self.name.is_none() || self.module.is_some()
    }

    /// Whether this is the module `name`.
    pub fn is_module(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_some_and(|own| own.as_bytes() == name)
    }

    fn mirror(&self, kernel: &K) {
        kernel.mirror_object(&self.handle, self.module, self.patched);
    }

    /// Sets the loaded module that the object stands for.
    pub fn set_module(&mut self, kernel: &K, module: Option<K::Module>) {
        self.module = module;
        self.mirror(kernel);
    }

    /// Looks for the module and creates the directories. C counterpart: `klp_init_object()`.
    ///
    /// `name` is the name of the patch's module.
    pub fn publish(&mut self, kernel: &K, patch: &K::Patch, name: &Name) -> Result {
        if let Some(name) = &self.name {
            if name.as_bytes().len() >= MODULE_NAME_LEN {
                return Err(EINVAL);
            }
            let module = kernel.find_module(name);
            self.set_module(kernel, module);
        }
        kernel.publish_object(patch, &self.handle, self.name.as_ref())?;
        for function in &self.functions {
            function.publish(kernel, &self.handle)?;
        }
        if self.is_loaded() {
            self.resolve(kernel, patch, name)?;
        }
        Ok(())
    }

    /// Writes the relocations and looks up the addresses of a loaded object.
    ///
    /// `name` is the name of the patch's module. C counterpart: `klp_init_object_loaded()`. Unlike
    /// the C core, a failure clears the relocations, so that the module can be loaded again.
    pub fn resolve(&mut self, kernel: &K, patch: &K::Patch, name: &Name) -> Result {
        if let Some(name) = &self.name {
            kernel.relocate(patch, name, true)?;
        }
        let result = self.resolve_functions(kernel, name);
        if result.is_err() {
            self.forget_code(kernel, patch);
        }
        result
    }

    fn resolve_functions(&mut self, kernel: &K, patch: &Name) -> Result {
        let object = self.name.as_ref();
        let wanted = self.functions.iter();
        let wanted = wanted.map(|function| (&function.name, function.position));
        // A module needs one pass for all symbols. In the kernel itself, each search is quick.
        let tallies = object.map(|object| symbol::find_all(kernel, object, wanted));
        let tallies = tallies.transpose()?;
        for (index, function) in self.functions.iter_mut().enumerate() {
            let tally = tallies.as_ref().and_then(|tallies| tallies.get(index));
            function.old.start = match tally {
                Some(tally) => tally.address(object, &function.name, function.position)?,
                None => symbol::find(kernel, object, &function.name, function.position)?,
            };
        }

        let originals = self.functions.iter().map(|function| function.old.start);
        let originals = object.map(|object| Sizes::of(kernel, object, originals));
        let originals = originals.transpose()?;
        let replacements = self.functions.iter().map(|function| function.new.start);
        let replacements = Sizes::of(kernel, patch, replacements)?;
        self.functions
            .iter_mut()
            .try_for_each(|function| function.measure(kernel, originals.as_ref(), &replacements))
    }

    /// Undoes [`Self::resolve`].
    pub fn forget_code(&mut self, kernel: &K, patch: &K::Patch) {
        if let Some(name) = &self.name {
            // Clearing fails only for names that applying would have refused.
            let _ = kernel.relocate(patch, name, false);
        }
        for function in self.functions.iter_mut() {
            function.forget_code(kernel);
        }
    }

    /// Patches all of the object's functions, or none. After an error there may be hooks to reap.
    ///
    /// C counterpart: `klp_patch_object()`.
    pub fn patch(&mut self, kernel: &K, sites: &mut Sites<K>) -> Result {
        if kernel::warn_on!(self.patched) {
            return Err(EINVAL);
        }
        let unfit = |function: &Function<K>| function.old.start == 0 || function.patched;
        if kernel::warn_on!(self.functions.iter().any(unfit)) {
            return Err(EINVAL);
        }
        sites.push(kernel, self.functions.iter().map(Function::addition))?;
        for function in self.functions.iter_mut() {
            function.patched = true;
            kernel.mirror_function(function);
        }
        self.patched = true;
        self.mirror(kernel);
        Ok(())
    }

    /// Unpatches the object's functions. The caller must detach them afterwards.
    ///
    /// C counterpart: `__klp_unpatch_object()`.
    pub fn unpatch(&mut self, kernel: &K, sites: &mut Sites<K>, which: Which) {
        for function in self.functions.iter_mut() {
            if function.patched && (which == Which::All || function.nop) {
                function.unpatch(kernel, sites);
            }
        }
        if self.dynamic || which == Which::All {
            self.patched = false;
            self.mirror(kernel);
        }
    }

    /// Runs the pre-patch callback. The object's other callbacks run only if this one succeeded.
    pub fn pre_patch(&mut self, kernel: &K) -> Result {
        let result = kernel.pre_patch(&self.handle);
        self.post_unpatch_enabled = result.is_ok();
        if result.is_err() {
            pr_warn!(
                "pre-patch callback failed for object '{}'\n",
                object_text(self.name.as_ref())
            );
        }
        result
    }

    /// Runs the post-unpatch callback if the pre-patch callback had succeeded.
    pub fn post_unpatch(&mut self, kernel: &K) {
        if self.post_unpatch_enabled {
            kernel.post_unpatch(&self.handle);
        }
        self.post_unpatch_enabled = false;
    }

    /// Adds the object's functions to a stack check.
    ///
    /// A task can only be inside code of objects that are patched or are about to be patched.
    pub(crate) fn add_to(&self, sites: &Sites<K>, check: &mut StackCheck) {
        for function in &self.functions {
            let start = function.old.start;
            let below = if self.patched {
                sites.below(start, function.id())
            } else {
                sites.newest(start)
            };
            let entry = prologue(start, function.location, K::CALL_SIZE);
            let old = below.unwrap_or(function.old);
            let pushed = check.push(function.number, entry, old, function.new);
            // Room was made for all functions when the patch was enabled.
            warn_on_once!(pushed.is_err());
        }
    }

    /// Returns the numbers of the object's functions.
    pub(crate) fn numbers(&self) -> core::ops::Range<usize> {
        let first = self.functions.first().map_or(0, |own| own.number);
        first..first.saturating_add(self.functions.len())
    }

    /// Releases the functions, or only the nops, which are the last.
    fn release(&mut self, kernel: &K, which: Which) {
        while let Some(last) = self.functions.last() {
            if which == Which::Nops && !last.nop {
                return;
            }
            if let Some(function) = self.functions.pop() {
                kernel.release_function(function.handle);
            }
        }
    }
}

/// A patch: what one livepatch module changes.
pub struct Patch<K: Kernel> {
    /// The patch's structure.
    pub handle: K::Patch,
    /// The patch's transition, while it is in progress.
    pub(crate) transition: Option<Transition<K>>,
    /// How the patch's last transition went, once one has ended.
    #[cfg_attr(all(CONFIG_LIVEPATCH, not(CONFIG_LIVEPATCH_WHY)), allow(dead_code))]
    pub(crate) last: Option<Progress>,
    /// What happened in the patch's last transition that is over.
    pub(crate) last_counts: Option<Counts>,
    /// The livepatch module's name.
    pub name: Name,
    /// Whether the patch is cumulative: it replaces all patches before it.
    pub replace: bool,
    /// The system states that the patch modifies.
    pub states: KVec<SystemState>,
    /// The objects that the patch touches, in the order of the patch, with the dynamic objects
    /// last.
    pub objects: KVec<Object<K>>,
    /// Whether the patch is enabled or is being enabled.
    pub enabled: bool,
    /// Whether a forced transition may have left tasks in the patch's code.
    pub forced: bool,
    /// How calls reach the patch's functions after its transition.
    pub gear: Gear,
    /// How long the patch's transitions may take.
    pub deadline: Deadline,
    /// The patch's stack check, while it is not in use.
    pub(crate) check: Option<Check>,
}

impl<K: Kernel> Patch<K> {
    /// Creates a patch without objects.
    pub fn new(handle: K::Patch, name: Name, replace: bool, states: KVec<SystemState>) -> Self {
        Self {
            handle,
            transition: None,
            last: None,
            last_counts: None,
            name,
            replace,
            states,
            objects: KVec::new(),
            enabled: false,
            forced: false,
            gear: Gear::Settled,
            deadline: Deadline::OFF,
            check: None,
        }
    }

    /// Returns the patch's identity.
    pub fn id(&self) -> K::PatchId {
        K::patch_id(&self.handle)
    }

    /// Whether the patch is in transition.
    pub fn is_in_transition(&self) -> bool {
        self.transition.is_some()
    }

    /// Numbers the functions and allocates a stack check with room for all of them. Errors:
    /// `ENOMEM`.
    pub(crate) fn reserve_check(&mut self) -> Result {
        let functions = self.objects.iter_mut();
        let functions = functions.flat_map(|object| object.functions.iter_mut());
        for (number, function) in functions.enumerate() {
            function.number = number;
        }
        let functions = self.objects.iter().flat_map(|object| &object.functions);
        let check = StackCheck::new(functions.map(|function| &function.name))?;
        self.check = Some(KBox::new(check, GFP_KERNEL)?);
        Ok(())
    }

    fn mirror(&self, kernel: &K) {
        kernel.mirror_patch(&self.handle, self.enabled, self.forced);
    }

    /// Sets whether the patch is enabled or is being enabled.
    pub fn set_enabled(&mut self, kernel: &K, enabled: bool) {
        self.enabled = enabled;
        self.mirror(kernel);
    }

    /// Marks the patch: a forced transition may have left tasks in its code.
    pub fn set_forced(&mut self, kernel: &K) {
        self.forced = true;
        self.mirror(kernel);
    }

    /// Sets for each function whether it is in transition.
    pub fn set_transition(&mut self, kernel: &K, sites: &mut Sites<K>, transition: bool) {
        for object in self.objects.iter_mut() {
            for function in object.functions.iter_mut() {
                function.set_transition(kernel, sites, transition);
            }
        }
    }

    /// Unpatches the objects that are patched. The caller must detach their functions afterwards.
    pub fn unpatch(&mut self, kernel: &K, sites: &mut Sites<K>, which: Which) {
        for object in self.objects.iter_mut() {
            if object.patched {
                object.unpatch(kernel, sites, which);
            }
        }
    }

    /// Releases the objects and their functions, or only the nops and the objects made for nops,
    /// which are the last.
    pub fn release(&mut self, kernel: &K, which: Which) {
        for object in self.objects.iter_mut() {
            object.release(kernel, which);
        }
        while let Some(last) = self.objects.last() {
            if which == Which::Nops && !last.dynamic {
                return;
            }
            if let Some(object) = self.objects.pop() {
                kernel.release_object(object.handle);
            }
        }
    }

    /// Adds a nop for each function of `old` that this patch does not have.
    ///
    /// Once this patch has replaced `old`, those functions run their original again. C counterpart:
    /// `klp_add_nops()`.
    pub fn add_nops(&mut self, kernel: &K, old: &Self) -> Result {
        for old_object in &old.objects {
            let index = self.find_or_make_object(kernel, old_object)?;
            let Some(object) = self.objects.get_mut(index) else {
                return Err(EINVAL);
            };
            for old_function in &old_object.functions {
                if object.functions.iter().any(|own| own.is_same(old_function)) {
                    continue;
                }
                let name = old_function.name.duplicate()?;
                object.functions.reserve(1, GFP_KERNEL)?;
                let handle = kernel.new_nop(&object.handle, &name, old_function.position)?;
                let mut nop = Function::new(handle, name, old_function.position, 0);
                nop.nop = true;
                // This can't fail: room was reserved above, before there was a handle to lose.
                object.functions.push(nop, GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// Returns the index of the object with the name of `like`, and adds the object if there is
    /// none.
    fn find_or_make_object(&mut self, kernel: &K, like: &Object<K>) -> Result<usize> {
        if let Some(index) = self.objects.iter().position(|own| own.name == like.name) {
            return Ok(index);
        }
        let name = like.name.as_ref().map(Name::duplicate).transpose()?;
        self.objects.reserve(1, GFP_KERNEL)?;
        let handle = kernel.new_object(&self.handle, name.as_ref())?;
        let mut object = Object::new(handle, name);
        object.dynamic = true;
        self.objects.push(object, GFP_KERNEL)?;
        Ok(self.objects.len().saturating_sub(1))
    }
}
