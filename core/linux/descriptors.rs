// SPDX-License-Identifier: GPL-2.0

//! `struct klp_patch`, `klp_object` and `klp_func`: the bridge reads them once when a patch is
//! enabled, and writes back the fields that modules and debuggers read.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h).

use crate::livepatch_core::{
    patch::{
        Callbacks,
        Function,
        Modules,
        Object,
        Patch,
        Structures, //
    },
    state::SystemState,
    symbol::Name,
    sysfs::Directories, //
};
use crate::{
    relocations,
    sysfs,
    Linux,
    Static, //
};
use core::{
    ffi::CStr,
    mem::{
        offset_of,
        ManuallyDrop,
        MaybeUninit, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            atomic_store,
            Atomic,
            Relaxed, //
        },
        rcu, //
    }, //
};

/// Livepatch modules that were built elsewhere bring these structures, and fill them in up to the
/// core's own fields. So the fields must not move.
macro_rules! fields {
    ($($structure:ident { $($field:ident: $offset:literal,)* })*) => {$($(
        const _: () = assert!(offset_of!(bindings::$structure, $field) == $offset);
    )*)*};
}

fields! {
    klp_func { old_name: 0, new_func: 8, old_sympos: 16, old_func: 24, }
    klp_callbacks {
        pre_patch: 0,
        post_patch: 8,
        pre_unpatch: 16,
        post_unpatch: 24,
        post_unpatch_enabled: 32,
    }
    klp_object { name: 0, funcs: 8, callbacks: 16, kobj: 56, }
    klp_state { id: 0, version: 8, data: 16, }
    klp_patch { mod_: 0, objs: 8, states: 16, replace: 24, list: 32, }
}

/// Owners of C structures. Each is valid from when it is made until it is given up.
macro_rules! owners {
    ($($(#[$meta:meta])* $name:ident($type:ident);)*) => {$(
        $(#[$meta])*
        pub(crate) struct $name(NonNull<bindings::$type>);

        // SAFETY: The structure is only touched under the core's lock, or atomically.
        unsafe impl Send for $name {}
        // SAFETY: The structure is only touched under the core's lock, or atomically.
        unsafe impl Sync for $name {}

        impl $name {
            /// The structure.
            pub(crate) const fn as_ptr(&self) -> *mut bindings::$type {
                self.0.as_ptr()
            }
        }
    )*};
}

owners! {
    /// A patch, with a reference to its module.
    ///
    /// # Invariants
    ///
    /// The structure is in a module that the reference keeps.
    PatchRef(klp_patch);
    /// An object.
    ///
    /// # Invariants
    ///
    /// The structure is in the module of its patch, or [`Structures::new_object`] allocated it. In
    /// the first case its kobject, once it was added, keeps that of the patch, and with it the
    /// module.
    ObjectRef(klp_object);
    /// A function.
    ///
    /// # Invariants
    ///
    /// The structure is in the module of its patch, or [`Structures::new_nop`] allocated it. In the
    /// first case its kobject, once it was added, keeps that of the patch, and with it the module.
    FunctionRef(klp_func);
}

/// Identities: addresses that are only compared, or shown to modules and debuggers.
macro_rules! identities {
    ($($(#[$meta:meta])* $name:ident($type:ident);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(usize);

        impl $name {
            /// The identity of the structure at this address.
            pub(crate) fn of(raw: *const bindings::$type) -> Self {
                Self(raw.expose_provenance())
            }
        }
    )*};
}

identities! {
    /// Identifies a patch.
    PatchId(klp_patch);
    /// Identifies a function.
    FunctionId(klp_func);
    /// Identifies a module that is patched.
    ModuleId(module);
}

impl PatchRef {
    /// Takes a reference to the patch's module. Errors: `ENODEV` if the module is going.
    ///
    /// # Safety
    ///
    /// [`check`] has passed the patch, which is in its module. The module's init function is
    /// running.
    unsafe fn get(raw: *mut bindings::klp_patch) -> Result<Self> {
        let patch = NonNull::new(raw).ok_or(EINVAL)?;
        // SAFETY: The patch is valid, since its module's init function is running.
        let module = unsafe { (*raw).mod_ };
        // SAFETY: The module is valid, since its init function is running.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: The reference was taken just now.
            Ok(Self(patch))
        } else {
            Err(ENODEV)
        }
    }

    /// Gives up ownership, but not the reference.
    pub(crate) fn into_raw(self) -> *mut bindings::klp_patch {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Takes up ownership again.
    ///
    /// # Safety
    ///
    /// [`Self::into_raw`] returned `raw`, and this is the only call for it.
    pub(crate) unsafe fn from_raw(raw: NonNull<bindings::klp_patch>) -> Self {
        Self(raw)
    }
}

impl Drop for PatchRef {
    fn drop(&mut self) {
        // SAFETY: The patch is valid while the reference exists.
        let module = unsafe { (*self.as_ptr()).mod_ };
        // SAFETY: The reference that is put is the one that this value owns.
        unsafe { bindings::module_put(module) };
    }
}

/// The patches that are enabled or in transition, oldest first: a list of `klp_patch.list`. It is
/// for `klp_get_prev_state()` and debuggers. The core has its own list.
#[no_mangle]
static klp_patches: Static<MaybeUninit<bindings::list_head>> = Static::new(MaybeUninit::uninit());

/// The patch in transition, or null if there is none.
#[no_mangle]
static klp_transition_patch: Atomic<*mut bindings::klp_patch> = Atomic::new(core::ptr::null_mut());

/// Initializes the list of patches, for [`crate::livepatch_early_init`].
///
/// # Safety
///
/// This is the only call, and nothing has used the list yet.
pub(crate) unsafe fn init() {
    // SAFETY: Nothing has used the list yet.
    unsafe { bindings::INIT_LIST_HEAD(klp_patches.get().cast()) };
}

/// The patch in transition.
pub(crate) fn transition_patch() -> Option<PatchId> {
    NonNull::new(klp_transition_patch.load(Relaxed)).map(|patch| PatchId::of(patch.as_ptr()))
}

/// The patches on the list, oldest first.
///
/// # Safety
///
/// The core's lock is held for as long as the iterator is used: by the caller itself, or, if the
/// caller is a callback, by the core that runs it.
pub(crate) unsafe fn listed() -> impl Iterator<Item = *mut bindings::klp_patch> {
    let head: *mut bindings::list_head = klp_patches.get().cast();
    // SAFETY: `init` initialized the list, and it does not change while the core's lock is held.
    let mut node = unsafe { (*head).next };
    core::iter::from_fn(move || {
        if node == head {
            return None;
        }
        // SAFETY: Every node but the head is the `list` field of a patch.
        let patch = unsafe { kernel::container_of!(node, bindings::klp_patch, list) };
        // SAFETY: A patch on the list is valid, and the list does not change while the lock is
        // held.
        node = unsafe { (*node).next };
        Some(patch)
    })
}

/// Elements of a C array, up to the one for which `is_end` holds.
///
/// # Safety
///
/// `first` is null or the first element of an array with such an end, which outlives the iterator.
unsafe fn elements<T>(first: *mut T, is_end: impl Fn(&T) -> bool) -> impl Iterator<Item = *mut T> {
    let mut next = first;
    core::iter::from_fn(move || {
        // SAFETY: `next` is null or points to an element: the walk does not go past the end.
        let element = unsafe { next.as_ref() }?;
        if is_end(element) {
            return None;
        }
        let current = next;
        next = next.wrapping_add(1);
        Some(current)
    })
}

/// The system states of a patch.
///
/// # Safety
///
/// The patch is valid.
pub(crate) unsafe fn states(
    patch: *mut bindings::klp_patch,
) -> impl Iterator<Item = *mut bindings::klp_state> {
    // SAFETY: The patch is valid, and its array of states is null or ends with an identifier of 0.
    unsafe { elements((*patch).states, |state| state.id == 0) }
}

/// The objects of a patch, as its module lists them.
///
/// # Safety
///
/// The patch is valid.
unsafe fn objects(
    patch: *mut bindings::klp_patch,
) -> impl Iterator<Item = *mut bindings::klp_object> {
    // SAFETY: The patch is valid, and its array of objects is null or ends with an empty object.
    unsafe {
        elements((*patch).objs, |object| {
            object.funcs.is_null() && object.name.is_null()
        })
    }
}

/// The functions of an object, as its module lists them.
///
/// # Safety
///
/// The object is valid.
unsafe fn functions(
    object: *mut bindings::klp_object,
) -> impl Iterator<Item = *mut bindings::klp_func> {
    // SAFETY: The object is valid, and its array of functions is null or ends with an empty one.
    unsafe {
        elements((*object).funcs, |function| {
            function.old_name.is_null() && function.new_func.is_null() && function.old_sympos == 0
        })
    }
}

/// Checks that all required pointers of a patch are set. C counterpart: `klp_check_patch()`.
///
/// # Safety
///
/// `patch` is null or valid.
pub(crate) unsafe fn check(patch: *mut bindings::klp_patch) -> Result {
    // SAFETY: `patch` is null or valid, and is not used if it is null.
    unsafe {
        if patch.is_null() || (*patch).mod_.is_null() || (*patch).objs.is_null() {
            return Err(EINVAL);
        }
        for object in objects(patch) {
            if (*object).funcs.is_null() {
                return Err(EINVAL);
            }
            if functions(object).any(|function| (*function).old_name.is_null()) {
                return Err(EINVAL);
            }
        }
    }
    Ok(())
}

/// Copies a C string.
///
/// # Safety
///
/// `string` is a valid C string.
unsafe fn name(string: *const c_char) -> Result<Name> {
    // SAFETY: `string` is a valid C string.
    Name::new(unsafe { CStr::from_char_ptr(string) }.to_bytes())
}

/// Reads a patch that [`check`] has passed, and takes a reference to its module.
///
/// # Safety
///
/// [`check`] has passed the patch, which is in its module. The module's init function is running.
pub(crate) unsafe fn read(raw: *mut bindings::klp_patch) -> Result<Patch<Linux>> {
    // SAFETY: `check` has passed the patch, and the module's init function is running.
    let patch = unsafe { PatchRef::get(raw)? };
    // SAFETY: The patch and all that it points to stay valid while `patch` has its reference.
    // `check` has seen that none of the pointers used here is null.
    unsafe {
        let mut system_states = KVec::new();
        for state in states(raw) {
            let state = SystemState {
                id: (*state).id,
                version: (*state).version,
            };
            system_states.push(state, GFP_KERNEL)?;
        }
        let module = name((&raw const (*(*raw).mod_).name).cast())?;
        let mut patch = Patch::new(patch, module, (*raw).replace, system_states);
        patch.gear = crate::ftrace::settle::default_gear();
        #[cfg(CONFIG_LIVEPATCH_DEADLINE)]
        {
            patch.deadline = sysfs::deadline::default_deadline();
        }
        for object in objects(raw) {
            let object = read_object(object)?;
            patch.objects.push(object, GFP_KERNEL)?;
        }
        Ok(patch)
    }
}

/// Reads an object of a patch that [`check`] has passed.
///
/// # Safety
///
/// [`check`] has passed the object's patch. A reference keeps the patch's module.
unsafe fn read_object(raw: *mut bindings::klp_object) -> Result<Object<Linux>> {
    // SAFETY: The object and its functions are in the patch's module. `check` has seen that no
    // function lacks its name.
    unsafe {
        // INVARIANT: The structure is in the module of its patch.
        let handle = ObjectRef(NonNull::new(raw).ok_or(EINVAL)?);
        let name_of_module = if (*raw).name.is_null() {
            None
        } else {
            Some(name((*raw).name)?)
        };
        let mut object = Object::new(handle, name_of_module);
        for function in functions(raw) {
            // INVARIANT: The structure is in the module of its patch.
            let handle = FunctionRef(NonNull::new(function).ok_or(EINVAL)?);
            let function = Function::new(
                handle,
                name((*function).old_name)?,
                (*function).old_sympos,
                (*function).new_func as usize,
            );
            object.functions.push(function, GFP_KERNEL)?;
        }
        Ok(object)
    }
}

/// Writes a field that is also read without the lock.
macro_rules! mirror {
    ($structure:expr, $field:ident, $value:expr) => {
        // SAFETY: The handle is valid. While the field is shared, it is only accessed atomically.
        unsafe { atomic_store(&raw mut (*$structure.as_ptr()).$field, $value, Relaxed) }
    };
}

/// Allocates a zeroed structure, as `kzalloc()` does. It has to be freed by `kfree()`.
fn allocate<T>() -> Result<NonNull<T>> {
    let memory = KBox::<T>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
    NonNull::new(KBox::into_raw(memory).cast()).ok_or(ENOMEM)
}

/// Copies a name to memory of its own. The copy has to be freed by `kfree()`.
fn duplicate(name: &Name) -> Result<*mut c_char> {
    // SAFETY: The name ends with a NUL.
    let copy = unsafe {
        bindings::kstrdup(
            name.as_bytes_with_nul().as_ptr().cast(),
            bindings::GFP_KERNEL,
        )
    };
    if copy.is_null() {
        return Err(ENOMEM);
    }
    Ok(copy)
}

impl Structures for Linux {
    type Patch = PatchRef;
    type PatchId = PatchId;
    type Object = ObjectRef;
    type Function = FunctionRef;
    type FunctionId = FunctionId;
    type Module = ModuleId;

    fn patch_id(patch: &PatchRef) -> PatchId {
        PatchId::of(patch.as_ptr())
    }

    fn function_id(function: &FunctionRef) -> FunctionId {
        FunctionId::of(function.as_ptr())
    }

    fn prepare(&self, patch: &Patch<Self>) {
        let raw = patch.handle.as_ptr();
        // SAFETY: The patch is valid, and nothing uses these fields yet.
        unsafe {
            bindings::INIT_LIST_HEAD(&raw mut (*raw).list);
            bindings::INIT_LIST_HEAD(&raw mut (*raw).obj_list);
            (*raw).enabled = false;
            (*raw).forced = false;
            sysfs::prepare_patch(raw);
        }
        for object in &patch.objects {
            prepare_object(&patch.handle, &object.handle);
            for function in &object.functions {
                prepare_function(&object.handle, &function.handle);
            }
        }
    }

    fn new_object(&self, patch: &PatchRef, name: Option<&Name>) -> Result<ObjectRef> {
        let name = name.map(duplicate).transpose()?;
        let object = match allocate::<bindings::klp_object>() {
            // INVARIANT: The structure was just allocated.
            Ok(object) => ObjectRef(object),
            Err(error) => {
                // SAFETY: `name` is null or came from `kstrdup()`, and nothing else refers to it.
                unsafe { bindings::kfree(name.unwrap_or(core::ptr::null_mut()).cast()) };
                return Err(error);
            }
        };
        // SAFETY: The object was just allocated, and nothing else refers to it yet.
        unsafe {
            (*object.as_ptr()).name = name.unwrap_or(core::ptr::null_mut());
            (*object.as_ptr()).dynamic = true;
        }
        prepare_object(patch, &object);
        Ok(object)
    }

    fn new_nop(&self, object: &ObjectRef, name: &Name, position: usize) -> Result<FunctionRef> {
        let name = duplicate(name)?;
        let function = match allocate::<bindings::klp_func>() {
            // INVARIANT: The structure was just allocated.
            Ok(function) => FunctionRef(function),
            Err(error) => {
                // SAFETY: `name` came from `kstrdup()`, and nothing else refers to it.
                unsafe { bindings::kfree(name.cast()) };
                return Err(error);
            }
        };
        // SAFETY: The function was just allocated, and nothing else refers to it yet.
        unsafe {
            (*function.as_ptr()).old_name = name;
            (*function.as_ptr()).old_sympos = position as c_ulong;
            (*function.as_ptr()).nop = true;
        }
        prepare_function(object, &function);
        Ok(function)
    }

    fn release_function(&self, function: FunctionRef) {
        // SAFETY: `prepare_function` put the function on its object's list. The function is given
        // up here, so it leaves the list once.
        unsafe { bindings::list_del(&raw mut (*function.as_ptr()).node) };
        // SAFETY: `prepare_function` initialized the kobject. The reference that is put is the
        // core's, which does not use the function any more.
        unsafe { bindings::kobject_put(&raw mut (*function.as_ptr()).kobj) };
    }

    fn release_object(&self, object: ObjectRef) {
        // SAFETY: `prepare_object` put the object on its patch's list. The object is given up here,
        // so it leaves the list once.
        unsafe { bindings::list_del(&raw mut (*object.as_ptr()).node) };
        // SAFETY: `prepare_object` initialized the kobject. The reference that is put is the
        // core's, which does not use the object any more.
        unsafe { bindings::kobject_put(&raw mut (*object.as_ptr()).kobj) };
    }

    fn list(&self, patch: &PatchRef, listed: bool) {
        // SAFETY: The patch is valid. This only takes the address of the field.
        let node = unsafe { &raw mut (*patch.as_ptr()).list };
        // SAFETY: `prepare` initialized the node: off the list, it points to itself.
        let is_listed = unsafe { (*node).next } != node;
        if warn_on_once!(is_listed == listed) {
            return;
        }
        if listed {
            // SAFETY: The core's lock is held, and the patch is not on the list.
            unsafe { bindings::list_add_tail(node, klp_patches.get().cast()) };
        } else {
            // SAFETY: The core's lock is held, and the patch is on the list.
            unsafe { bindings::list_del(node) };
            // SAFETY: The node is valid and no longer on the list.
            unsafe { bindings::INIT_LIST_HEAD(node) };
        }
    }

    fn free_later(&self, patch: PatchRef, forced: bool) {
        mirror!(patch, forced, forced);
        let raw = patch.into_raw();
        // SAFETY: `prepare` initialized the work, which takes up the ownership of the patch.
        unsafe { bindings::schedule_work(&raw mut (*raw).free_work) };
    }

    fn mirror_patch(&self, patch: &PatchRef, enabled: bool, forced: bool) {
        mirror!(patch, enabled, enabled);
        mirror!(patch, forced, forced);
    }

    fn mirror_object(&self, object: &ObjectRef, module: Option<ModuleId>, patched: bool) {
        let module = module.map_or(core::ptr::null_mut(), |module| {
            core::ptr::with_exposed_provenance_mut(module.0)
        });
        mirror!(object, mod_, module);
        mirror!(object, patched, patched);
    }

    fn mirror_function(&self, function: &Function<Self>) {
        let raw = function.handle.as_ptr();
        // SAFETY: The function is valid, and only the core writes these fields, under its lock.
        unsafe {
            (*raw).old_func = function.old.start as *mut c_void;
            (*raw).new_func = function.new.start as *mut c_void;
            (*raw).old_size = function.old.size as c_ulong;
            (*raw).new_size = function.new.size as c_ulong;
        }
        mirror!(function.handle, patched, function.patched);
        mirror!(function.handle, transition, function.transition);
    }

    fn mirror_transition(&self, patch: Option<&PatchRef>) {
        let patch = patch.map_or(core::ptr::null_mut(), PatchRef::as_ptr);
        klp_transition_patch.store(patch, Relaxed);
    }
}

impl Directories for Linux {
    fn publish_patch(&self, patch: &Patch<Self>) -> Result {
        sysfs::add_patch(&patch.handle, &patch.name)?;
        #[cfg(CONFIG_LIVEPATCH_WHY)]
        crate::why::add(patch.id(), &patch.name);
        Ok(())
    }

    fn publish_object(&self, patch: &PatchRef, object: &ObjectRef, name: Option<&Name>) -> Result {
        sysfs::add_object(patch, object, name)
    }

    fn publish_function(
        &self,
        object: &ObjectRef,
        function: &FunctionRef,
        name: &Name,
        position: usize,
    ) -> Result {
        // SAFETY: The function is valid, and nothing but the core uses it yet.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*function.as_ptr()).stack_node) };
        mirror!(function, patched, false);
        mirror!(function, transition, false);
        sysfs::add_function(object, function, name, position)
    }
}

/// A callback of `struct klp_callbacks` that returns nothing.
type Callback = unsafe extern "C" fn(*mut bindings::klp_object);

/// Runs one of an object's callbacks, if the object has it.
fn run(object: &ObjectRef, callback: Option<Callback>) {
    if let Some(callback) = callback {
        // SAFETY: The callback came from the object's own structure, so it is in the module of the
        // object's patch, which is loaded.
        unsafe { callback(object.as_ptr()) };
    }
}

impl Callbacks for Linux {
    fn pre_patch(&self, object: &ObjectRef) -> Result {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and its callbacks do not change.
        let callback = unsafe { (*raw).callbacks.pre_patch };
        // SAFETY: The callback is in the module of the object's patch, which is loaded.
        let result = callback.map_or(0, |callback| unsafe { callback(raw) });
        // SAFETY: The object is valid, and only the core writes this flag, under its lock.
        unsafe { (*raw).callbacks.post_unpatch_enabled = result == 0 };
        if result == 0 {
            Ok(())
        } else {
            Err(Error::from_errno(result))
        }
    }

    fn post_patch(&self, object: &ObjectRef) {
        // SAFETY: The object is valid, and its callbacks do not change.
        run(object, unsafe { (*object.as_ptr()).callbacks.post_patch });
    }

    fn pre_unpatch(&self, object: &ObjectRef) {
        // SAFETY: The object is valid, and its callbacks do not change.
        run(object, unsafe { (*object.as_ptr()).callbacks.pre_unpatch });
    }

    fn post_unpatch(&self, object: &ObjectRef) {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and its callbacks do not change.
        run(object, unsafe { (*raw).callbacks.post_unpatch });
        // SAFETY: The object is valid, and only the core writes this flag, under its lock.
        unsafe { (*raw).callbacks.post_unpatch_enabled = false };
    }
}

impl Modules for Linux {
    fn find_module(&self, name: &Name) -> Option<ModuleId> {
        let _guard = rcu::read_lock();
        // No reference is taken: patches must not keep modules from leaving. `klp_module_going()`
        // tells the core when a module leaves.
        //
        // SAFETY: The name ends with a NUL, and RCU is held.
        let module = unsafe { bindings::find_module(name.as_bytes_with_nul().as_ptr().cast()) };
        // SAFETY: The pointer is null, or RCU keeps the module valid while its flag is read.
        let alive = !module.is_null() && unsafe { (*module).klp_alive };
        alive.then(|| ModuleId::of(module))
    }

    fn relocate(&self, patch: &PatchRef, object: &Name, apply: bool) -> Result {
        // SAFETY: The patch is valid, and its module keeps its ELF information.
        unsafe { relocations::of_object(patch.as_ptr(), object, apply) }
    }
}

fn prepare_object(patch: &PatchRef, object: &ObjectRef) {
    let (patch, object) = (patch.as_ptr(), object.as_ptr());
    // SAFETY: The patch and the object are valid, and the object is not in use yet.
    unsafe {
        bindings::INIT_LIST_HEAD(&raw mut (*object).func_list);
        sysfs::prepare_object(object);
        bindings::list_add_tail(&raw mut (*object).node, &raw mut (*patch).obj_list);
    }
}

fn prepare_function(object: &ObjectRef, function: &FunctionRef) {
    let (object, function) = (object.as_ptr(), function.as_ptr());
    // SAFETY: The object and the function are valid, and the function is not in use yet.
    unsafe {
        sysfs::prepare_function(function);
        bindings::list_add_tail(&raw mut (*function).node, &raw mut (*object).func_list);
    }
}
