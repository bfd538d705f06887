// SPDX-License-Identifier: GPL-2.0

//! The functions of `include/linux/livepatch.h` that modules and the module loader call.
//!
//! `#[export]` holds each signature against the header. Those that the scheduler, fork and the exit
//! to user mode call are in `tasks.rs`, those of shadow variables in `shadow.rs`.

use crate::livepatch_core::{
    registry::NotEnabled,
    state,
    symbol::Text,
    transition::Tasks, //
};
use crate::{
    descriptors::{
        self,
        transition_patch,
        ModuleRef,
        PatchRef, //
    },
    is_initialized,
    relocations::{
        self,
        ElfSection, //
    },
    sysfs,
    Linux,
    KLP_MUTEX, //
};
use core::ffi::CStr;
use kernel::{
    bindings,
    prelude::*, //
};

/// The errno of a result.
fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// The name of a module.
///
/// # Safety
///
/// The module is valid for as long as the name is used.
unsafe fn module_name<'a>(module: *const bindings::module) -> &'a [u8] {
    // SAFETY: As the caller promises; names of modules are C strings.
    unsafe { CStr::from_char_ptr((&raw const (*module).name).cast()) }.to_bytes()
}

/// Enables a patch.
///
/// # Safety
///
/// `patch` is null, or belongs to a livepatch module that is calling this from its init function.
#[export]
pub(crate) unsafe extern "C" fn klp_enable_patch(patch: *mut bindings::klp_patch) -> c_int {
    // SAFETY: As the caller promises.
    errno(unsafe { enable(patch) })
}

/// # Safety
///
/// As for [`klp_enable_patch`].
unsafe fn enable(raw: *mut bindings::klp_patch) -> Result {
    // SAFETY: As the caller promises; `check` has seen that there is a module.
    unsafe {
        descriptors::check(raw)?;
        let module = (*raw).mod_;
        if !(*module).klp {
            pr_err!(
                "module {} is not marked as a livepatch module\n",
                Text(module_name(module))
            );
            return Err(EINVAL);
        }
    }
    if !is_initialized() {
        return Err(ENODEV);
    }
    if !Linux.has_reliable_stacks() {
        pr_warn!("This architecture doesn't have support for the livepatch consistency model.\n");
        pr_warn!("The livepatch transition may never complete.\n");
    }

    // SAFETY: As the caller promises; the core takes a reference to the module before it keeps any
    // of this.
    let patch = unsafe { descriptors::read(raw)? };
    let mut core = KLP_MUTEX.lock();
    let listed = core.patches().iter().any(|own| own.handle == patch.handle);
    // SAFETY: The patch is valid, and the lock is held.
    if !listed && unsafe { sysfs::is_in_use(raw) } {
        // It was enabled before and has been taken back, but its directory is still being removed.
        return Err(EBUSY);
    }
    let result = core.enable(&Linux, patch);
    drop(core);
    match result {
        Ok(()) => Ok(()),
        Err(NotEnabled::Refused(error)) => Err(error),
        Err(NotEnabled::Undone(error)) => {
            // SAFETY: The core has given the patch up, and the lock is not held.
            unsafe { sysfs::finish(raw) };
            Err(error)
        }
    }
}

/// Patches a module that is loading.
///
/// # Safety
///
/// Called by the module loader.
#[export]
pub(crate) unsafe extern "C" fn klp_module_coming(module: *mut bindings::module) -> c_int {
    // SAFETY: Throughout, the loader's module is valid.
    unsafe {
        if kernel::warn_on!((*module).state != bindings::module_state_MODULE_STATE_COMING) {
            return EINVAL.to_errno();
        }
        let name = module_name(module);
        if name == b"vmlinux" {
            pr_err!("vmlinux.ko: invalid module name\n");
            return EINVAL.to_errno();
        }
        match ModuleRef::from_raw(module) {
            Some(handle) => errno(KLP_MUTEX.lock().module_coming(&Linux, handle, name)),
            None => EINVAL.to_errno(),
        }
    }
}

/// Takes all patches off a module that is leaving.
///
/// # Safety
///
/// Called by the module loader.
#[export]
pub(crate) unsafe extern "C" fn klp_module_going(module: *mut bindings::module) {
    // SAFETY: Throughout, the loader's module is valid.
    unsafe {
        let state = (*module).state;
        if kernel::warn_on!(
            state != bindings::module_state_MODULE_STATE_GOING
                && state != bindings::module_state_MODULE_STATE_COMING
        ) {
            return;
        }
        if let Some(handle) = ModuleRef::from_raw(module) {
            KLP_MUTEX
                .lock()
                .module_going(&Linux, handle, module_name(module));
        }
    }
}

/// Applies the relocations of one `.klp.rela.` section while a livepatch module loads.
///
/// # Safety
///
/// Called by the module loader; all pointers but `objname` are valid.
#[export]
pub(crate) unsafe extern "C" fn klp_apply_section_relocs(
    pmod: *mut bindings::module,
    sechdrs: *mut bindings::Elf64_Shdr,
    shstrtab: *const c_char,
    strtab: *const c_char,
    symindex: c_uint,
    secindex: c_uint,
    objname: *const c_char,
) -> c_int {
    let object = if objname.is_null() {
        None
    } else {
        // SAFETY: The caller gives a C string.
        Some(unsafe { CStr::from_char_ptr(objname) }.to_bytes())
    };
    // INVARIANT: As the caller promises.
    let mut section = ElfSection {
        module: pmod,
        headers: sechdrs,
        section_names: shstrtab,
        symbol_names: strtab,
        symbols: symindex,
        index: secindex,
    };
    errno(relocations::of_section(&mut section, object))
}

/// Finds a section of a livepatch module; null, and a size of 0, if there is none.
///
/// # Safety
///
/// `module` is a livepatch module, `name` a C string, `size` may be written.
#[export]
pub(crate) unsafe extern "C" fn klp_find_section_by_name(
    module: *const bindings::module,
    name: *const c_char,
    size: *mut usize,
) -> *mut c_void {
    // SAFETY: Throughout, as the caller promises: a livepatch module keeps its ELF information.
    unsafe {
        let info = (*module).klp_info;
        let wanted = CStr::from_char_ptr(name);
        for index in 1..usize::from((*info).hdr.e_shnum) {
            let header = (*info).sechdrs.add(index);
            let own = (*info).secstrings.add((*header).sh_name as usize);
            if CStr::from_char_ptr(own) == wanted {
                *size = (*header).sh_size as usize;
                return (*header).sh_addr as *mut c_void;
            }
        }
        *size = 0;
    }
    core::ptr::null_mut()
}

/// The system state `id` of a patch, null if it has none.
///
/// # Safety
///
/// The patch is valid.
#[export]
pub(crate) unsafe extern "C" fn klp_get_state(
    patch: *mut bindings::klp_patch,
    id: c_ulong,
) -> *mut bindings::klp_state {
    // SAFETY: As the caller promises.
    unsafe { descriptors::states(patch).find(|&state| (*state).id == id) }
        .unwrap_or(core::ptr::null_mut())
}

/// The system state `id` of the newest patch, before the one in transition, that has it.
///
/// # Safety
///
/// Called during a transition, from a callback: the core's lock is held further up.
#[export]
pub(crate) unsafe extern "C" fn klp_get_prev_state(id: c_ulong) -> *mut bindings::klp_state {
    let transition = transition_patch();
    if warn_on_once!(transition.is_none()) {
        return core::ptr::null_mut();
    }
    // SAFETY: The lock is held, as the caller promises, and patches on the list are valid.
    let patches = unsafe {
        descriptors::listed().map(|patch| {
            let state = descriptors::states(patch.as_ptr()).find(|&state| (*state).id == id);
            (Some(patch), state)
        })
    };
    state::previous::<Option<PatchRef>, _>(patches, transition).unwrap_or(core::ptr::null_mut())
}
