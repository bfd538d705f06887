// SPDX-License-Identifier: GPL-2.0

//! The directories and attributes below `/sys/kernel/livepatch`.
//!
//! The kobjects are embedded in the C structures. `livepatch_core::sysfs` decides what an attribute
//! means.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h).

#[cfg(CONFIG_LIVEPATCH_DEADLINE)]
pub(crate) mod deadline;
#[cfg(CONFIG_LIVEPATCH_SETTLE)]
mod gear;

use crate::livepatch_core::{
    symbol::Name,
    sysfs::Writable, //
};
use crate::{
    descriptors::{
        transition_patch,
        FunctionRef,
        ObjectRef,
        PatchId,
        PatchRef, //
    },
    kobject::{
        Attribute,
        Attributes,
        Directory,
        Group,
        Groups,
        HasKobject,
        Show,
        Store,
        Type, //
    },
    Linux,
    KLP_MUTEX, //
};
use core::{
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    fmt,
    prelude::*,
    str::kstrtobool,
    sync::{
        atomic::{
            atomic_load,
            Relaxed, //
        },
        SetOnce, //
    },
    types::Opaque, //
};

/// `/sys/kernel/livepatch`.
static ROOT: SetOnce<Directory> = SetOnce::new();

/// Makes the root directory. Errors: `ENOMEM`.
pub(crate) fn init() -> Result {
    ROOT.populate(Directory::in_kernel(c"livepatch")?);
    Ok(())
}

/// A patch.
#[repr(transparent)]
struct Patch(Opaque<bindings::klp_patch>);

// SAFETY: Fields that change while the patch is shared are only accessed atomically.
unsafe impl Sync for Patch {}

// SAFETY: `kobj` is a kobject.
unsafe impl HasKobject for Patch {
    const OFFSET: usize = offset_of!(bindings::klp_patch, kobj);

    unsafe fn release(this: *mut Self) {
        let patch: *mut bindings::klp_patch = this.cast();
        // SAFETY: `prepare_patch` initialized the completion. `finish` waits for it, and keeps the
        // patch until then.
        unsafe { bindings::complete(&raw mut (*patch).finish) };
    }
}

impl Patch {
    fn id(&self) -> PatchId {
        PatchId::of(self.0.get())
    }

    /// Writes a boolean to an attribute.
    fn store(&self, input: &CStr, attribute: Writable) -> Result {
        let value = kstrtobool(input)?;
        KLP_MUTEX.lock().store(&Linux, self.id(), attribute, value)
    }
}

/// An object of a patch.
#[repr(transparent)]
struct Object(Opaque<bindings::klp_object>);

// SAFETY: Fields that change while the object is shared are only accessed atomically.
unsafe impl Sync for Object {}

// SAFETY: `kobj` is a kobject.
unsafe impl HasKobject for Object {
    const OFFSET: usize = offset_of!(bindings::klp_object, kobj);

    unsafe fn release(this: *mut Self) {
        let object: *mut bindings::klp_object = this.cast();
        // SAFETY: The object is valid.
        if !unsafe { (*object).dynamic } {
            return;
        }
        // SAFETY: The object is valid.
        let name = unsafe { (*object).name };
        // SAFETY: The core allocated the name, which nothing uses any more.
        unsafe { bindings::kfree(name.cast()) };
        // SAFETY: The core allocated the object, which nothing uses any more.
        unsafe { bindings::kfree(object.cast()) };
    }
}

/// A function of an object.
#[repr(transparent)]
struct Function(Opaque<bindings::klp_func>);

// SAFETY: The function is not accessed by way of its directory.
unsafe impl Sync for Function {}

// SAFETY: `kobj` is a kobject.
unsafe impl HasKobject for Function {
    const OFFSET: usize = offset_of!(bindings::klp_func, kobj);

    unsafe fn release(this: *mut Self) {
        let function: *mut bindings::klp_func = this.cast();
        // SAFETY: The function is valid.
        if !unsafe { (*function).nop } {
            return;
        }
        // SAFETY: The function is valid.
        let name = unsafe { (*function).old_name };
        // SAFETY: The core allocated the name, which nothing uses any more.
        unsafe { bindings::kfree(name.cast()) };
        // SAFETY: The core allocated the nop, which nothing uses any more.
        unsafe { bindings::kfree(function.cast()) };
    }
}

static ENABLED: Attribute<Patch> = Attribute::read_write::<Enabled>(c"enabled");
static TRANSITION: Attribute<Patch> = Attribute::read_only::<Transition>(c"transition");
static FORCE: Attribute<Patch> = Attribute::write_only::<Force>(c"force");
static REPLACE: Attribute<Patch> = Attribute::read_only::<Replace>(c"replace");
static STACK_ORDER: Attribute<Patch> = Attribute::read_only::<StackOrder>(c"stack_order");

static PATCH_TYPE: Type<Patch> = {
    const NUMBER: usize =
        5 + cfg!(CONFIG_LIVEPATCH_SETTLE) as usize + cfg!(CONFIG_LIVEPATCH_DEADLINE) as usize;
    static ATTRIBUTES: Attributes<Patch, NUMBER> = Attributes::new([
        &ENABLED,
        &TRANSITION,
        &FORCE,
        &REPLACE,
        &STACK_ORDER,
        #[cfg(CONFIG_LIVEPATCH_SETTLE)]
        &gear::GEAR,
        #[cfg(CONFIG_LIVEPATCH_DEADLINE)]
        &deadline::DEADLINE,
    ]);
    static GROUP: Group<Patch> = Group::new(&ATTRIBUTES);
    static GROUPS: Groups<Patch> = Groups::new(&GROUP);
    Type::new(Some(&GROUPS))
};

static PATCHED: Attribute<Object> = Attribute::read_only::<Patched>(c"patched");

static OBJECT_TYPE: Type<Object> = {
    static ATTRIBUTES: Attributes<Object, 1> = Attributes::new([&PATCHED]);
    static GROUP: Group<Object> = Group::new(&ATTRIBUTES);
    static GROUPS: Groups<Object> = Groups::new(&GROUP);
    Type::new(Some(&GROUPS))
};

static FUNCTION_TYPE: Type<Function> = Type::new(None);

/// `enabled`: whether the patch is to be in use.
enum Enabled {}

impl Show<Patch> for Enabled {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        // The core's lock is not taken, since a transition may hold it for long.
        //
        // SAFETY: The patch is valid, and the field is only accessed atomically while it is shared.
        let enabled = unsafe { atomic_load(&raw mut (*patch.0.get()).enabled, Relaxed) };
        Ok(u8::from(enabled))
    }
}

impl Store<Patch> for Enabled {
    fn store(patch: &Patch, input: &CStr) -> Result {
        patch.store(input, Writable::Enabled)
    }
}

/// `transition`: whether the patch is in transition.
enum Transition {}

impl Show<Patch> for Transition {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        Ok(u8::from(transition_patch() == Some(patch.id())))
    }
}

/// `force`: forces the patch's transition.
enum Force {}

impl Store<Patch> for Force {
    fn store(patch: &Patch, input: &CStr) -> Result {
        patch.store(input, Writable::Force)
    }
}

/// `replace`: whether the patch replaces those before it.
enum Replace {}

impl Show<Patch> for Replace {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        // SAFETY: The patch is valid, and the field does not change.
        let replace = unsafe { (*patch.0.get()).replace };
        Ok(u8::from(replace))
    }
}

/// `stack_order`: the position of the patch among those that are enabled.
enum StackOrder {}

impl Show<Patch> for StackOrder {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        Ok(KLP_MUTEX.lock().stack_order(patch.id()))
    }
}

/// `patched`: whether the object's functions are patched.
enum Patched {}

impl Show<Object> for Patched {
    fn show(object: &Object) -> Result<impl fmt::Display> {
        // SAFETY: The object is valid, and the field is only accessed atomically while it is
        // shared.
        let patched = unsafe { atomic_load(&raw mut (*object.0.get()).patched, Relaxed) };
        Ok(u8::from(patched))
    }
}

/// Initializes a patch's kobject, and the work and the completion for giving it up later.
///
/// # Safety
///
/// The patch is valid and not in use yet.
pub(crate) unsafe fn prepare_patch(patch: *mut bindings::klp_patch) {
    // SAFETY: The patch is valid and not in use yet.
    unsafe { PATCH_TYPE.init(patch.cast()) };
    // SAFETY: The work is not in use yet. It has a lockdep class of its own.
    unsafe {
        bindings::init_work_with_key(
            &raw mut (*patch).free_work,
            Some(free_work),
            false,
            c"klp_free_patch_work".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        )
    };
    // SAFETY: Nothing waits for the completion yet.
    unsafe { bindings::init_completion(&raw mut (*patch).finish) };
}

/// Initializes an object's kobject.
///
/// # Safety
///
/// The object is valid and not in use yet.
pub(crate) unsafe fn prepare_object(object: *mut bindings::klp_object) {
    // SAFETY: The object is valid and not in use yet.
    unsafe { OBJECT_TYPE.init(object.cast()) };
}

/// Initializes a function's kobject.
///
/// # Safety
///
/// The function is valid and not in use yet.
pub(crate) unsafe fn prepare_function(function: *mut bindings::klp_func) {
    // SAFETY: The function is valid and not in use yet.
    unsafe { FUNCTION_TYPE.init(function.cast()) };
}

/// Whether a patch's directory exists or is still being removed.
///
/// # Safety
///
/// The patch is valid, and the core's lock is held.
pub(crate) unsafe fn is_in_use(patch: *const bindings::klp_patch) -> bool {
    // SAFETY: The patch is valid, and the core's lock is held. `prepare_patch` and `finish` change
    // the flag under that lock.
    unsafe { (*patch).kobj.state_initialized() != 0 }
}

/// Makes a patch's directory.
pub(crate) fn add_patch(patch: &PatchRef, name: &Name) -> Result {
    let root = ROOT.as_ref().ok_or(ENODEV)?;
    // SAFETY: The kobject was initialized, the root is never removed, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            Patch::kobject(patch.as_ptr().cast()),
            root.as_ptr(),
            c"%s".as_char_ptr(),
            name.as_bytes_with_nul().as_ptr(),
        )
    })
}

/// Makes an object's directory.
pub(crate) fn add_object(patch: &PatchRef, object: &ObjectRef, name: Option<&Name>) -> Result {
    let name = name.map_or(c"vmlinux".to_bytes_with_nul(), Name::as_bytes_with_nul);
    // SAFETY: Both kobjects were initialized, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            Object::kobject(object.as_ptr().cast()),
            Patch::kobject(patch.as_ptr().cast()),
            c"%s".as_char_ptr(),
            name.as_ptr(),
        )
    })
}

/// Makes a function's directory.
pub(crate) fn add_function(
    object: &ObjectRef,
    function: &FunctionRef,
    name: &Name,
    position: usize,
) -> Result {
    // SAFETY: Both kobjects were initialized, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            Function::kobject(function.as_ptr().cast()),
            Object::kobject(object.as_ptr().cast()),
            c"%s,%lu".as_char_ptr(),
            name.as_bytes_with_nul().as_ptr(),
            position as c_ulong,
        )
    })
}

/// Waits until the directory of a patch that the core has given up is gone, and lets its module go.
///
/// The caller does not hold the core's lock: sysfs users may wait for it.
pub(crate) fn finish(patch: PatchRef) {
    let raw = patch.as_ptr();
    // The file in debugfs goes before the patch can be enabled again under the same name.
    #[cfg(CONFIG_LIVEPATCH_WHY)]
    crate::why::remove(PatchId::of(raw));
    let kobj = Patch::kobject(raw.cast());
    // SAFETY: `prepare_patch` initialized the kobject. The reference that is put is the core's,
    // which has given up the patch.
    unsafe { bindings::kobject_put(kobj) };
    // SAFETY: `prepare_patch` initialized the completion. The context may sleep.
    unsafe { bindings::wait_for_completion(&raw mut (*raw).finish) };
    // After the unlock the module may enable the patch again, if its init function is still
    // running. That changes the patch's fields, so they are read under the lock.
    let _core = KLP_MUTEX.lock();
    // SAFETY: `Patch::release` has run, so nothing uses the kobject any more.
    unsafe { kobj.write(pin_init::zeroed()) };
    // SAFETY: The patch is valid, and only the core writes the field, under its lock.
    if unsafe { (*raw).forced } {
        // A forced transition may have left tasks in the module's code, so the reference stays.
        patch.into_raw();
    }
}

/// Gives up a patch from a workqueue.
///
/// # Safety
///
/// `work` is the `free_work` of a patch whose ownership was given to the work. The context may
/// sleep.
unsafe extern "C" fn free_work(work: *mut bindings::work_struct) {
    // SAFETY: `work` is in a patch.
    let patch = unsafe { container_of!(work, bindings::klp_patch, free_work) };
    if let Some(patch) = NonNull::new(patch) {
        // SAFETY: The ownership of the patch was given to the work, which runs once.
        finish(unsafe { PatchRef::from_raw(patch) });
    }
}
