// SPDX-License-Identifier: GPL-2.0

//! The functions of `include/linux/livepatch.h` that modules and the module loader call.
//!
//! `#[export]` checks each signature against the header. The functions that the scheduler, fork and
//! the exit to user mode call are in `tasks.rs`. Those of shadow variables are in `shadow.rs`.

use crate::livepatch_core::{
    registry::NotEnabled,
    state,
    symbol::Text,
    task::Tasks, //
};
use crate::{
    descriptors::{
        self,
        transition_patch,
        ModuleId,
        PatchId, //
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

/// Returns 0 for success, or the negative errno.
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
    // SAFETY: The module is valid for as long as the name is used, and names of modules are C
    // strings.
    unsafe { CStr::from_char_ptr((&raw const (*module).name).cast()) }.to_bytes()
}

/// Enables a patch.
///
/// # Safety
///
/// `patch` is null, or belongs to a livepatch module that is calling this from its init function.
#[export]
pub(crate) unsafe extern "C" fn klp_enable_patch(patch: *mut bindings::klp_patch) -> c_int {
    // SAFETY: `patch` is null, or belongs to a livepatch module whose init function is running.
    errno(unsafe { enable(patch) })
}

/// Enables a patch.
///
/// # Safety
///
/// `raw` is null, or belongs to a livepatch module whose init function is running.
unsafe fn enable(raw: *mut bindings::klp_patch) -> Result {
    // SAFETY: `raw` is null or valid. If `check` passes, neither `raw` nor its module is null, and
    // the module is valid while its init function is running.
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

    // SAFETY: `check` has passed the patch, which is in a module whose init function is running.
    let patch = unsafe { descriptors::read(raw)? };
    let mut core = KLP_MUTEX.lock();
    let listed = core.patches().iter().any(|own| own.id() == patch.id());
    // SAFETY: The patch is valid, and the lock is held.
    if !listed && unsafe { sysfs::is_in_use(raw) } {
        // The patch was enabled before and is no longer listed, but its directory is still being
        // removed.
        return Err(EBUSY);
    }
    let result = core.enable(&Linux, patch);
    drop(core);
    result.map_err(|reason| match reason {
        NotEnabled::Refused(error) => error,
        NotEnabled::Undone(error, patch) => {
            sysfs::finish(patch);
            error
        }
    })
}

/// Patches a module that is loading.
///
/// # Safety
///
/// `module` is valid. After a success it stays valid until `klp_module_going()` has returned for
/// it.
#[export]
pub(crate) unsafe extern "C" fn klp_module_coming(module: *mut bindings::module) -> c_int {
    // SAFETY: The module is valid.
    let state = unsafe { (*module).state };
    if kernel::warn_on!(state != bindings::module_state_MODULE_STATE_COMING) {
        return EINVAL.to_errno();
    }
    // SAFETY: The module is valid throughout the call.
    let name = unsafe { module_name(module) };
    if name == b"vmlinux" {
        pr_err!("vmlinux.ko: invalid module name\n");
        return EINVAL.to_errno();
    }
    let mut core = KLP_MUTEX.lock();
    // From here on, a patch that is being enabled patches the module itself.
    //
    // SAFETY: The module is valid. Only the core writes the field, under its lock.
    unsafe { (*module).klp_alive = true };
    let result = core.module_coming(&Linux, ModuleId::of(module), name);
    if result.is_err() {
        // SAFETY: The module is valid. Only the core writes the field, under its lock.
        unsafe { (*module).klp_alive = false };
    }
    errno(result)
}

/// Takes all patches off a module that is leaving.
///
/// # Safety
///
/// `module` is valid throughout the call.
#[export]
pub(crate) unsafe extern "C" fn klp_module_going(module: *mut bindings::module) {
    // SAFETY: The module is valid.
    let state = unsafe { (*module).state };
    if kernel::warn_on!(
        state != bindings::module_state_MODULE_STATE_GOING
            && state != bindings::module_state_MODULE_STATE_COMING
    ) {
        return;
    }
    let mut core = KLP_MUTEX.lock();
    // SAFETY: The module is valid. Only the core writes the field, under its lock.
    unsafe { (*module).klp_alive = false };
    // SAFETY: The module is valid throughout the call.
    core.module_going(&Linux, unsafe { module_name(module) });
}

/// Applies the relocations of one `.klp.rela.` section while a livepatch module loads.
///
/// # Safety
///
/// All pointers but `objname` are valid, and `objname` is null or a C string. `symindex` and
/// `secindex` are indices of sections.
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
        // SAFETY: `objname` is not null, so it is a C string.
        Some(unsafe { CStr::from_char_ptr(objname) }.to_bytes())
    };
    // INVARIANT: The pointers are valid, and `symindex` and `secindex` are indices of sections.
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

/// Finds a section of a livepatch module. Returns null and sets the size to 0 if there is none.
///
/// # Safety
///
/// `module` is a valid livepatch module, `name` is a C string, and `size` can be written.
#[export]
pub(crate) unsafe extern "C" fn klp_find_section_by_name(
    module: *const bindings::module,
    name: *const c_char,
    size: *mut usize,
) -> *mut c_void {
    // SAFETY: A livepatch module keeps its ELF information, and `index` stays below its number of
    // sections. Names of sections are C strings, as is `name`. `size` can be written.
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

/// Returns the system state `id` of a patch, or null if the patch has none.
///
/// # Safety
///
/// The patch is valid.
#[export]
pub(crate) unsafe extern "C" fn klp_get_state(
    patch: *mut bindings::klp_patch,
    id: c_ulong,
) -> *mut bindings::klp_state {
    // SAFETY: The patch is valid.
    unsafe { descriptors::states(patch).find(|&state| (*state).id == id) }
        .unwrap_or(core::ptr::null_mut())
}

/// Returns the system state `id` of the newest patch before the one in transition that has this
/// state, or null if there is none.
///
/// # Safety
///
/// The caller is a callback of a patch in transition, so the core's lock is held throughout.
#[export]
pub(crate) unsafe extern "C" fn klp_get_prev_state(id: c_ulong) -> *mut bindings::klp_state {
    let transition = transition_patch();
    if warn_on_once!(transition.is_none()) {
        return core::ptr::null_mut();
    }
    // SAFETY: The core runs callbacks with its lock held, and patches on the list are valid.
    let patches = unsafe {
        descriptors::listed().map(|patch| {
            let state = descriptors::states(patch).find(|&state| (*state).id == id);
            (Some(PatchId::of(patch)), state)
        })
    };
    state::previous::<Option<PatchId>, _>(patches, transition).unwrap_or(core::ptr::null_mut())
}
