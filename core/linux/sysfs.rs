// SPDX-License-Identifier: GPL-2.0

//! The directories and attributes below `/sys/kernel/livepatch`.
//!
//! The kobjects are embedded in the C structures. `livepatch_core::sysfs` decides what an attribute
//! means.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h).

use crate::livepatch_core::{
    dispatch::Gear,
    symbol::Name,
    sysfs::{
        gear_text,
        parse_gear,
        Writable, //
    }, //
};
use crate::{
    descriptors::{
        self,
        transition_patch,
        FunctionRef,
        ObjectRef,
        PatchRef, //
    },
    Linux,
    Shared as Static,
    KLP_MUTEX, //
};
use core::ffi::CStr;
use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    str::kstrtobool_bytes,
    sync::atomic::{
        atomic_load,
        Atomic,
        Relaxed, //
    }, //
};

/// `/sys/kernel/livepatch`.
static ROOT: Atomic<*mut bindings::kobject> = Atomic::new(core::ptr::null_mut());

/// Makes the root directory. Errors: `ENOMEM`.
pub(crate) fn init() -> Result {
    // SAFETY: `/sys/kernel` exists by the time of initcalls.
    let root = unsafe {
        bindings::kobject_create_and_add(c"livepatch".as_char_ptr(), bindings::kernel_kobj)
    };
    if root.is_null() {
        return Err(ENOMEM);
    }
    ROOT.store(root, Relaxed);
    Ok(())
}

/// A function that reads an attribute. It gets the kobject, the attribute, and a buffer of a page.
type Show = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *mut c_char,
) -> isize;
type Store = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *const c_char,
    usize,
) -> isize;

const fn attribute(
    name: &'static CStr,
    mode: u16,
    show: Option<Show>,
    store: Option<Store>,
) -> Static<bindings::kobj_attribute> {
    // SAFETY: All zeroes is an attribute without name and functions.
    let mut attribute: bindings::kobj_attribute = unsafe { core::mem::zeroed() };
    attribute.attr.name = name.to_bytes_with_nul().as_ptr();
    attribute.attr.mode = mode;
    attribute.__bindgen_anon_1.show = show;
    attribute.__bindgen_anon_2.store = store;
    Static::new(attribute)
}

static ENABLED: Static<bindings::kobj_attribute> =
    attribute(c"enabled", 0o644, Some(enabled_show), Some(enabled_store));
static TRANSITION: Static<bindings::kobj_attribute> =
    attribute(c"transition", 0o444, Some(transition_show), None);
static FORCE: Static<bindings::kobj_attribute> =
    attribute(c"force", 0o200, None, Some(force_store));
static REPLACE: Static<bindings::kobj_attribute> =
    attribute(c"replace", 0o444, Some(replace_show), None);
static STACK_ORDER: Static<bindings::kobj_attribute> =
    attribute(c"stack_order", 0o444, Some(stack_order_show), None);
static GEAR: Static<bindings::kobj_attribute> =
    attribute(c"gear", 0o644, Some(gear_show), Some(gear_store));
static PATCHED: Static<bindings::kobj_attribute> =
    attribute(c"patched", 0o444, Some(patched_show), None);

/// A null-terminated list of `N - 1` attributes.
type List<const N: usize> = Static<[*mut bindings::attribute; N]>;

static PATCH_ATTRIBUTES: List<7> = Static::new([
    ENABLED.get().cast(),
    TRANSITION.get().cast(),
    FORCE.get().cast(),
    REPLACE.get().cast(),
    STACK_ORDER.get().cast(),
    GEAR.get().cast(),
    core::ptr::null_mut(),
]);
static OBJECT_ATTRIBUTES: List<2> = Static::new([PATCHED.get().cast(), core::ptr::null_mut()]);

const fn group<const N: usize>(attributes: &'static List<N>) -> Static<bindings::attribute_group> {
    // SAFETY: All zeroes is a group without name and attributes.
    let mut group: bindings::attribute_group = unsafe { core::mem::zeroed() };
    group.__bindgen_anon_2.attrs = attributes.get().cast();
    Static::new(group)
}

static PATCH_GROUP: Static<bindings::attribute_group> = group(&PATCH_ATTRIBUTES);
static OBJECT_GROUP: Static<bindings::attribute_group> = group(&OBJECT_ATTRIBUTES);

/// A null-terminated list of one group.
type Groups = Static<[*const bindings::attribute_group; 2]>;

static PATCH_GROUPS: Groups = Static::new([PATCH_GROUP.get().cast_const(), core::ptr::null()]);
static OBJECT_GROUPS: Groups = Static::new([OBJECT_GROUP.get().cast_const(), core::ptr::null()]);

const fn kobj_type(
    release: unsafe extern "C" fn(*mut bindings::kobject),
    groups: *mut *const bindings::attribute_group,
) -> Static<bindings::kobj_type> {
    // SAFETY: All zeroes is a type without anything.
    let mut kobj_type: bindings::kobj_type = unsafe { core::mem::zeroed() };
    kobj_type.release = Some(release);
    kobj_type.sysfs_ops = &raw const bindings::kobj_sysfs_ops;
    kobj_type.default_groups = groups;
    Static::new(kobj_type)
}

static PATCH_TYPE: Static<bindings::kobj_type> =
    kobj_type(release_patch, PATCH_GROUPS.get().cast());
static OBJECT_TYPE: Static<bindings::kobj_type> =
    kobj_type(release_object, OBJECT_GROUPS.get().cast());
static FUNCTION_TYPE: Static<bindings::kobj_type> =
    kobj_type(release_function, core::ptr::null_mut());

/// Initializes a patch's kobject, and the work and the completion for giving it up later.
///
/// # Safety
///
/// The patch is valid and not in use yet.
pub(crate) unsafe fn prepare_patch(patch: *mut bindings::klp_patch) {
    // SAFETY: The patch is valid and not in use yet. The work has a lockdep class of its own.
    unsafe {
        init_kobject(&raw mut (*patch).kobj, PATCH_TYPE.get());
        bindings::init_work_with_key(
            &raw mut (*patch).free_work,
            Some(free_work),
            false,
            c"klp_free_patch_work".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        );
        bindings::init_completion(&raw mut (*patch).finish);
    }
}

/// Initializes a kobject that is not in use. An earlier use may have left something in it: a
/// kobject keeps the address of its name after the name was freed.
///
/// # Safety
///
/// The kobject is valid and not in use.
unsafe fn init_kobject(kobj: *mut bindings::kobject, kobj_type: *const bindings::kobj_type) {
    // SAFETY: The kobject is valid and not in use. All zeroes is also what a static kobject starts
    // with.
    unsafe { kobj.write_bytes(0, 1) };
    // SAFETY: The kobject is zeroed, and its type is a static.
    unsafe { bindings::kobject_init(kobj, kobj_type) };
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

/// Initializes an object's kobject.
///
/// # Safety
///
/// The object is valid and not in use yet.
pub(crate) unsafe fn prepare_object(object: *mut bindings::klp_object) {
    // SAFETY: The object, with its kobject, is valid and not in use yet.
    unsafe { init_kobject(&raw mut (*object).kobj, OBJECT_TYPE.get()) };
}

/// Initializes a function's kobject.
///
/// # Safety
///
/// The function is valid and not in use yet.
pub(crate) unsafe fn prepare_function(function: *mut bindings::klp_func) {
    // SAFETY: The function, with its kobject, is valid and not in use yet.
    unsafe { init_kobject(&raw mut (*function).kobj, FUNCTION_TYPE.get()) };
}

/// Makes a patch's directory.
pub(crate) fn add_patch(patch: PatchRef, name: &Name) -> Result {
    // SAFETY: The kobject was initialized, the root is never removed, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            &raw mut (*patch.as_ptr()).kobj,
            ROOT.load(Relaxed),
            c"%s".as_char_ptr(),
            name.as_bytes_with_nul().as_ptr(),
        )
    })
}

/// Makes an object's directory.
pub(crate) fn add_object(patch: PatchRef, object: ObjectRef, name: Option<&Name>) -> Result {
    let name = name.map_or(c"vmlinux".to_bytes_with_nul(), Name::as_bytes_with_nul);
    // SAFETY: Both kobjects were initialized, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            &raw mut (*object.as_ptr()).kobj,
            &raw mut (*patch.as_ptr()).kobj,
            c"%s".as_char_ptr(),
            name.as_ptr(),
        )
    })
}

/// Makes a function's directory.
pub(crate) fn add_function(
    object: ObjectRef,
    function: FunctionRef,
    name: &Name,
    position: usize,
) -> Result {
    // SAFETY: Both kobjects were initialized, and the name ends with a NUL.
    to_result(unsafe {
        bindings::kobject_add(
            &raw mut (*function.as_ptr()).kobj,
            &raw mut (*object.as_ptr()).kobj,
            c"%s,%lu".as_char_ptr(),
            name.as_bytes_with_nul().as_ptr(),
            position as c_ulong,
        )
    })
}

/// Waits until the directory of a patch that the core has given up is gone, and lets its module go.
///
/// The caller does not hold the core's lock: sysfs users may wait for it.
///
/// # Safety
///
/// The core does not use the patch any more, and has not put its reference to the kobject yet.
pub(crate) unsafe fn finish(patch: *mut bindings::klp_patch) {
    // SAFETY: `prepare_patch` initialized the kobject and the completion. The reference that is put
    // here is the core's.
    unsafe {
        bindings::kobject_put(&raw mut (*patch).kobj);
        bindings::wait_for_completion(&raw mut (*patch).finish);
    }
    // After the unlock the module may enable the patch again, if its init function is still
    // running. That changes the patch's fields, so `put_module()` has to read them under the lock.
    let _core = KLP_MUTEX.lock();
    // SAFETY: The patch is valid until its module goes. `release_patch` has run, so nothing uses
    // the kobject any more.
    unsafe { (&raw mut (*patch).kobj).write_bytes(0, 1) };
    // SAFETY: The core took the reference when it enabled the patch, which it does not use any
    // more.
    unsafe { descriptors::put_module(patch) };
}

/// Gives up a patch from a workqueue.
///
/// # Safety
///
/// `work` is the `free_work` of a patch that the core has given up. The context may sleep.
unsafe extern "C" fn free_work(work: *mut bindings::work_struct) {
    // SAFETY: `work` is in a patch that the core has given up.
    unsafe { finish(container_of!(work, bindings::klp_patch, free_work)) };
}

/// Tells [`finish`] that a patch's kobject is no longer in use.
///
/// # Safety
///
/// `kobj` is embedded in a `klp_patch`, and its last reference is gone.
unsafe extern "C" fn release_patch(kobj: *mut bindings::kobject) {
    // SAFETY: The kobject is in a patch, which is valid at least until `finish` is told.
    unsafe {
        let patch = container_of!(kobj, bindings::klp_patch, kobj);
        bindings::complete(&raw mut (*patch).finish);
    }
}

/// Frees an object, if the core allocated it.
///
/// # Safety
///
/// `kobj` is embedded in a `klp_object`, and its last reference is gone.
unsafe extern "C" fn release_object(kobj: *mut bindings::kobject) {
    // SAFETY: The kobject is in an object. The core allocated dynamic objects and their names.
    unsafe {
        let object = container_of!(kobj, bindings::klp_object, kobj);
        if (*object).dynamic {
            bindings::kfree((*object).name.cast());
            bindings::kfree(object.cast());
        }
    }
}

/// Frees a function, if it is a nop, which the core allocated.
///
/// # Safety
///
/// `kobj` is embedded in a `klp_func`, and its last reference is gone.
unsafe extern "C" fn release_function(kobj: *mut bindings::kobject) {
    // SAFETY: The kobject is in a function. The core allocated nops and their names.
    unsafe {
        let function = container_of!(kobj, bindings::klp_func, kobj);
        if (*function).nop {
            bindings::kfree((*function).old_name.cast());
            bindings::kfree(function.cast());
        }
    }
}

/// The patch of an attribute's kobject.
///
/// # Safety
///
/// `kobj` is embedded in a `klp_patch`.
unsafe fn patch_of(kobj: *mut bindings::kobject) -> *mut bindings::klp_patch {
    // SAFETY: `kobj` is embedded in a `klp_patch`.
    unsafe { container_of!(kobj, bindings::klp_patch, kobj) }
}

/// Prints a number and a newline to a sysfs buffer.
///
/// # Safety
///
/// `buffer` is a buffer that sysfs passed to a `show` function.
unsafe fn emit(buffer: *mut c_char, value: c_int) -> isize {
    // SAFETY: `buffer` came from sysfs, and the format takes an integer.
    unsafe { bindings::sysfs_emit(buffer, c"%d\n".as_char_ptr(), value) as isize }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` came from sysfs.
unsafe extern "C" fn enabled_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // The core's lock is not taken, since a transition may hold it for long.
    //
    // SAFETY: The patch is live, and the field is only accessed atomically while it is shared. The
    // buffer came from sysfs.
    unsafe {
        let enabled = atomic_load(&raw mut (*patch_of(kobj)).enabled, Relaxed);
        emit(buffer, c_int::from(enabled))
    }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` came from sysfs.
unsafe extern "C" fn transition_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: The kobject is embedded in a live patch, and the buffer came from sysfs.
    unsafe {
        let patch = PatchRef::from_raw(patch_of(kobj));
        emit(buffer, c_int::from(transition_patch() == patch))
    }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` came from sysfs.
unsafe extern "C" fn replace_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: The patch is live, and the field does not change. The buffer came from sysfs.
    unsafe { emit(buffer, c_int::from((*patch_of(kobj)).replace)) }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` came from sysfs.
unsafe extern "C" fn stack_order_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: The kobject is embedded in a live patch.
    let Some(patch) = (unsafe { PatchRef::from_raw(patch_of(kobj)) }) else {
        return 0;
    };
    let order = KLP_MUTEX.lock().stack_order(patch);
    // SAFETY: The buffer came from sysfs.
    unsafe { emit(buffer, order as c_int) }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` came from sysfs.
unsafe extern "C" fn gear_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: The kobject is embedded in a live patch.
    let Some(patch) = (unsafe { PatchRef::from_raw(patch_of(kobj)) }) else {
        return 0;
    };
    let text = gear_text(KLP_MUTEX.lock().gear(patch));
    // SAFETY: The buffer came from sysfs, and the format takes a string.
    unsafe { bindings::sysfs_emit(buffer, c"%s\n".as_char_ptr(), text.as_char_ptr()) as isize }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_object`, and `buffer` came from sysfs.
unsafe extern "C" fn patched_show(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: The object is live, and the field is only accessed atomically while it is shared. The
    // buffer came from sysfs.
    unsafe {
        let object = container_of!(kobj, bindings::klp_object, kobj);
        let patched = atomic_load(&raw mut (*object).patched, Relaxed);
        emit(buffer, c_int::from(patched))
    }
}

/// Carries out a write to an attribute of a patch.
///
/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` holds a C string.
unsafe fn store(
    kobj: *mut bindings::kobject,
    buffer: *const c_char,
    count: usize,
    carry_out: fn(PatchRef, &[u8]) -> Result,
) -> isize {
    // SAFETY: `buffer` holds a C string, and `kobj` is embedded in a live patch.
    let (input, patch) = unsafe {
        let input = CStr::from_char_ptr(buffer).to_bytes();
        (input, PatchRef::from_raw(patch_of(kobj)))
    };
    match patch
        .ok_or(EINVAL)
        .and_then(|patch| carry_out(patch, input))
    {
        Ok(()) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` holds a C string.
unsafe extern "C" fn enabled_store(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: `kobj` is embedded in a live patch, and `buffer` holds a C string.
    unsafe {
        store(kobj, buffer, count, |patch, input| {
            let value = kstrtobool_bytes(input)?;
            let mut core = KLP_MUTEX.lock();
            core.store(&Linux, patch, Writable::Enabled, value)
        })
    }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` holds a C string.
unsafe extern "C" fn force_store(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: `kobj` is embedded in a live patch, and `buffer` holds a C string.
    unsafe {
        store(kobj, buffer, count, |patch, input| {
            let value = kstrtobool_bytes(input)?;
            let mut core = KLP_MUTEX.lock();
            core.store(&Linux, patch, Writable::Force, value)
        })
    }
}

/// # Safety
///
/// `kobj` is embedded in a live `klp_patch`, and `buffer` holds a C string.
unsafe extern "C" fn gear_store(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: `kobj` is embedded in a live patch, and `buffer` holds a C string.
    unsafe {
        store(kobj, buffer, count, |patch, input| {
            let gear = parse_gear(input)?;
            if gear == Gear::Settled && !crate::ftrace::can_settle() {
                return Err(EOPNOTSUPP);
            }
            KLP_MUTEX.lock().set_gear(&Linux, patch, gear)
        })
    }
}
