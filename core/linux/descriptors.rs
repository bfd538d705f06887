// SPDX-License-Identifier: GPL-2.0

//! `struct klp_patch`, `klp_object` and `klp_func`: the bridge reads them once when a patch is
//! enabled, and writes back the fields that modules and debuggers read.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h).

use crate::livepatch_core::{
    patch::{
        Descriptors,
        Function,
        Object,
        Patch, //
    },
    state::SystemState,
    symbol::Name, //
};
use crate::{
    relocations,
    sysfs,
    Linux,
    Shared as Static, //
};
use core::{
    ffi::CStr,
    mem::MaybeUninit,
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

/// Handles of C structures. Each is valid from `klp_enable_patch()` until the core has given it up.
macro_rules! handles {
    ($($(#[$meta:meta])* $name:ident($type:ident);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(NonNull<bindings::$type>);

        // SAFETY: What a handle points to is only touched under the core's lock, or atomically.
        unsafe impl Send for $name {}
        // SAFETY: What a handle points to is only touched under the core's lock, or atomically.
        unsafe impl Sync for $name {}

        impl $name {
            /// # Safety
            ///
            /// `raw` is null, or valid for as long as the core keeps the handle.
            pub(crate) unsafe fn from_raw(raw: *mut bindings::$type) -> Option<Self> {
                NonNull::new(raw).map(Self)
            }

            /// The structure.
            pub(crate) const fn as_ptr(self) -> *mut bindings::$type {
                self.0.as_ptr()
            }
        }
    )*};
}

handles! {
    /// A patch.
    PatchRef(klp_patch);
    /// An object.
    ObjectRef(klp_object);
    /// A function.
    FunctionRef(klp_func);
    /// A module that is patched.
    ModuleRef(module);
}

impl FunctionRef {
    /// The name of the function that is replaced.
    pub(crate) fn name(self) -> crate::livepatch_core::symbol::Text<'static> {
        // SAFETY: The function is in a patch that is in transition, so the patch's module is loaded
        // and the name is valid.
        let name = unsafe { CStr::from_char_ptr((*self.as_ptr()).old_name) };
        crate::livepatch_core::symbol::Text(name.to_bytes())
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
pub(crate) fn transition_patch() -> Option<PatchRef> {
    NonNull::new(klp_transition_patch.load(Relaxed)).map(PatchRef)
}

/// The patches on the list, oldest first.
///
/// # Safety
///
/// The core's lock is held for as long as the iterator is used: by the caller itself, or, if the
/// caller is a callback, by the core that runs it.
pub(crate) unsafe fn listed() -> impl Iterator<Item = PatchRef> {
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
        NonNull::new(patch).map(PatchRef)
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

/// Reads a patch that [`check`] has passed.
///
/// # Safety
///
/// [`check`] has passed the patch. The patch stays valid until the core has given it up.
pub(crate) unsafe fn read(raw: *mut bindings::klp_patch) -> Result<Patch<Linux>> {
    // SAFETY: The patch and all that it points to stay valid until the core has given it up.
    // `check` has seen that none of the pointers used here is null.
    unsafe {
        let handle = PatchRef::from_raw(raw).ok_or(EINVAL)?;
        let mut system_states = KVec::new();
        for state in states(raw) {
            let state = SystemState {
                id: (*state).id,
                version: (*state).version,
            };
            system_states.push(state, GFP_KERNEL)?;
        }
        let module = name((&raw const (*(*raw).mod_).name).cast())?;
        let mut patch = Patch::new(handle, module, (*raw).replace, system_states);
        patch.gear = crate::ftrace::default_gear();
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
/// [`check`] has passed the object's patch. The patch stays valid until the core has given it up.
unsafe fn read_object(raw: *mut bindings::klp_object) -> Result<Object<Linux>> {
    // SAFETY: The object and its functions stay valid until the core has given up their patch.
    // `check` has seen that no function lacks its name.
    unsafe {
        let handle = ObjectRef::from_raw(raw).ok_or(EINVAL)?;
        let name_of_module = if (*raw).name.is_null() {
            None
        } else {
            Some(name((*raw).name)?)
        };
        let mut object = Object::new(handle, name_of_module);
        for function in functions(raw) {
            let handle = FunctionRef::from_raw(function).ok_or(EINVAL)?;
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

impl Descriptors for Linux {
    type Patch = PatchRef;
    type Object = ObjectRef;
    type Function = FunctionRef;
    type Module = ModuleRef;

    fn get_module(&self, patch: PatchRef) -> Result {
        // SAFETY: The patch is valid, and so is its module, whose init function is running.
        if unsafe { bindings::try_module_get((*patch.as_ptr()).mod_) } {
            Ok(())
        } else {
            Err(ENODEV)
        }
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
            prepare_object(patch.handle, object.handle);
            for function in &object.functions {
                prepare_function(object.handle, function.handle);
            }
        }
    }

    fn publish_patch(&self, patch: &Patch<Self>) -> Result {
        sysfs::add_patch(patch.handle, &patch.name)
    }

    fn publish_object(&self, patch: PatchRef, object: ObjectRef, name: Option<&Name>) -> Result {
        sysfs::add_object(patch, object, name)
    }

    fn publish_function(
        &self,
        object: ObjectRef,
        function: FunctionRef,
        name: &Name,
        position: usize,
    ) -> Result {
        let raw = function.as_ptr();
        // SAFETY: The function is valid, and nothing but the core uses it yet.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*raw).stack_node) };
        mirror!(function, patched, false);
        mirror!(function, transition, false);
        sysfs::add_function(object, function, name, position)
    }

    fn new_object(&self, patch: PatchRef, name: Option<&Name>) -> Result<ObjectRef> {
        let name = name.map(duplicate).transpose()?;
        let object = match allocate::<bindings::klp_object>() {
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
        prepare_object(patch, object);
        Ok(object)
    }

    fn new_nop(&self, object: ObjectRef, name: &Name, position: usize) -> Result<FunctionRef> {
        let name = duplicate(name)?;
        let function = match allocate::<bindings::klp_func>() {
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
        prepare_function(object, function);
        Ok(function)
    }

    fn release_function(&self, function: FunctionRef) {
        // SAFETY: `prepare_function` put the function on its object's list and initialized the
        // kobject. The core uses neither from now on.
        unsafe {
            bindings::list_del(&raw mut (*function.as_ptr()).node);
            bindings::kobject_put(&raw mut (*function.as_ptr()).kobj);
        }
    }

    fn release_object(&self, object: ObjectRef) {
        // SAFETY: `prepare_object` put the object on its patch's list and initialized the kobject.
        // The core uses neither from now on.
        unsafe {
            bindings::list_del(&raw mut (*object.as_ptr()).node);
            bindings::kobject_put(&raw mut (*object.as_ptr()).kobj);
        }
    }

    fn list(&self, patch: PatchRef, listed: bool) {
        // SAFETY: The core's lock is held. A patch to be added is not on the list, and one to be
        // removed is.
        unsafe {
            let node = &raw mut (*patch.as_ptr()).list;
            if listed {
                bindings::list_add_tail(node, klp_patches.get().cast());
            } else {
                bindings::list_del(node);
            }
        }
    }

    fn free_later(&self, patch: PatchRef, forced: bool) {
        let raw = patch.as_ptr();
        mirror!(patch, forced, forced);
        // SAFETY: `prepare` initialized the work, and the patch stays valid until the work has run.
        unsafe { bindings::schedule_work(&raw mut (*raw).free_work) };
    }

    fn mirror_patch(&self, patch: PatchRef, enabled: bool, forced: bool) {
        mirror!(patch, enabled, enabled);
        mirror!(patch, forced, forced);
    }

    fn mirror_object(&self, object: ObjectRef, module: Option<ModuleRef>, patched: bool) {
        let module = module.map_or(core::ptr::null_mut(), ModuleRef::as_ptr);
        mirror!(object, mod_, module);
        mirror!(object, patched, patched);
    }

    fn mirror_function(&self, function: &Function<Self>) {
        let handle = function.handle;
        let raw = handle.as_ptr();
        // SAFETY: The function is valid, and only the core writes these fields, under its lock.
        unsafe {
            (*raw).old_func = function.old.start as *mut c_void;
            (*raw).new_func = function.new.start as *mut c_void;
            (*raw).old_size = function.old.size as c_ulong;
            (*raw).new_size = function.new.size as c_ulong;
        }
        mirror!(handle, patched, function.patched);
        mirror!(handle, transition, function.transition);
    }

    fn mirror_transition(&self, patch: Option<PatchRef>) {
        klp_transition_patch.store(
            patch.map_or(core::ptr::null_mut(), PatchRef::as_ptr),
            Relaxed,
        );
    }

    fn pre_patch(&self, object: ObjectRef) -> Result {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and the module that its callbacks are in is loaded.
        let result = unsafe {
            match (*raw).callbacks.pre_patch {
                Some(callback) => callback(raw),
                None => 0,
            }
        };
        // SAFETY: The object is valid, and only the core writes this flag, under its lock.
        unsafe { (*raw).callbacks.post_unpatch_enabled = result == 0 };
        if result == 0 {
            Ok(())
        } else {
            Err(Error::from_errno(result))
        }
    }

    fn post_patch(&self, object: ObjectRef) {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and the module that its callbacks are in is loaded.
        unsafe {
            if let Some(callback) = (*raw).callbacks.post_patch {
                callback(raw);
            }
        }
    }

    fn pre_unpatch(&self, object: ObjectRef) {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and the module that its callbacks are in is loaded.
        unsafe {
            if let Some(callback) = (*raw).callbacks.pre_unpatch {
                callback(raw);
            }
        }
    }

    fn post_unpatch(&self, object: ObjectRef) {
        let raw = object.as_ptr();
        // SAFETY: The object is valid, and the module that its callbacks are in is loaded.
        unsafe {
            if let Some(callback) = (*raw).callbacks.post_unpatch {
                callback(raw);
            }
            (*raw).callbacks.post_unpatch_enabled = false;
        }
    }

    fn find_module(&self, name: &Name) -> Option<ModuleRef> {
        let _guard = rcu::read_lock();
        // No reference is taken: patches must not keep modules from leaving. `klp_module_going()`
        // tells the core when a module leaves.
        //
        // SAFETY: The name ends with a NUL. RCU keeps the module valid while its flag is read.
        // After that the core's lock does: the flag is cleared under it before a module goes.
        unsafe {
            let module = bindings::find_module(name.as_bytes_with_nul().as_ptr().cast());
            if module.is_null() || !(*module).klp_alive {
                return None;
            }
            ModuleRef::from_raw(module)
        }
    }

    fn set_alive(&self, module: ModuleRef, alive: bool) {
        // SAFETY: The module is coming or going, so it is valid. Only the core writes the field,
        // under its lock.
        unsafe { (*module.as_ptr()).klp_alive = alive };
    }

    fn relocate(&self, patch: PatchRef, object: &Name, apply: bool) -> Result {
        // SAFETY: The patch is valid, and its module keeps its ELF information.
        unsafe { relocations::of_object(patch.as_ptr(), object, apply) }
    }
}

fn prepare_object(patch: PatchRef, object: ObjectRef) {
    let (patch, object) = (patch.as_ptr(), object.as_ptr());
    // SAFETY: The patch and the object are valid, and the object is not in use yet.
    unsafe {
        bindings::INIT_LIST_HEAD(&raw mut (*object).func_list);
        sysfs::prepare_object(object);
        bindings::list_add_tail(&raw mut (*object).node, &raw mut (*patch).obj_list);
    }
}

fn prepare_function(object: ObjectRef, function: FunctionRef) {
    let (object, function) = (object.as_ptr(), function.as_ptr());
    // SAFETY: The object and the function are valid, and the function is not in use yet.
    unsafe {
        sysfs::prepare_function(function);
        bindings::list_add_tail(&raw mut (*function).node, &raw mut (*object).func_list);
    }
}

/// Gives up the reference to the patch's module, unless a forced transition may have left tasks in
/// its code.
///
/// # Safety
///
/// [`Descriptors::get_module`] took the reference, and nothing uses the patch any more.
pub(crate) unsafe fn put_module(patch: *mut bindings::klp_patch) {
    // SAFETY: The reference that `get_module` took keeps the patch and its module valid.
    unsafe {
        if !(*patch).forced {
            bindings::module_put((*patch).mod_);
        }
    }
}
