// SPDX-License-Identifier: GPL-2.0

//! The kernel's symbol table.
//!
//! C header: [`include/linux/kallsyms.h`](srctree/include/linux/kallsyms.h).

use crate::livepatch_core::symbol::{
    Name,
    Symbols, //
};
use crate::Linux;
use core::{
    ffi::CStr,
    ops::ControlFlow, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A closure that gets the addresses of the kernel's symbols that match.
type Matches<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// A closure that gets the names and addresses of a module's symbols.
type All<'a> = &'a mut dyn FnMut(&[u8], usize) -> ControlFlow<()>;

/// Converts a closure's answer to that of a kallsyms callback: anything but 0 ends the walk.
fn answer(flow: ControlFlow<()>) -> c_int {
    c_int::from(flow.is_break())
}

/// Passes a symbol of the kernel whose name matches to the closure.
///
/// # Safety
///
/// `data` points to [`Matches`] that nothing else uses during the call.
unsafe extern "C" fn kernel_symbol(data: *mut c_void, address: c_ulong) -> c_int {
    // SAFETY: `data` points to `Matches` that nothing else uses during the call.
    let found = unsafe { &mut *data.cast::<Matches<'_>>() };
    answer(found(address))
}

/// A name, and a closure that gets the addresses of a module's symbols with that name.
struct Named<'a> {
    name: &'a Name,
    found: Matches<'a>,
}

/// Passes a symbol of a module to the closure if its name matches.
///
/// # Safety
///
/// `data` points to a [`Named`] that nothing else uses during the call. `name` is a valid C string.
unsafe extern "C" fn named_symbol(
    data: *mut c_void,
    name: *const c_char,
    address: c_ulong,
) -> c_int {
    // SAFETY: `data` points to a `Named` that nothing else uses during the call.
    let wanted = unsafe { &mut *data.cast::<Named<'_>>() };
    let own = wanted.name.as_bytes_with_nul().as_ptr().cast();
    // SAFETY: Both are C strings.
    if unsafe { bindings::strcmp(own, name) } != 0 {
        return 0;
    }
    // SAFETY: The arguments are as for this function, with the closure for `data`.
    unsafe { kernel_symbol((&raw mut wanted.found).cast(), address) }
}

/// Passes a symbol of a module to the closure, unless kallsyms ignores it.
///
/// # Safety
///
/// `data` points to [`All`] that nothing else uses during the call. `name` is a valid C string.
unsafe extern "C" fn module_symbol(
    data: *mut c_void,
    name: *const c_char,
    address: c_ulong,
) -> c_int {
    // SAFETY: `name` is a valid C string.
    let is_mapping_symbol = unsafe { bindings::is_mapping_symbol(name) };
    // SAFETY: `name` is a valid C string.
    let name = unsafe { CStr::from_char_ptr(name) };
    if is_mapping_symbol || name.is_empty() {
        return 0;
    }
    // SAFETY: `data` points to `All` that nothing else uses during the call.
    let found = unsafe { &mut *data.cast::<All<'_>>() };
    answer(found(name.to_bytes(), address))
}

impl Symbols for Linux {
    const PAGE_SIZE: usize = kernel::page::PAGE_SIZE;

    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        let mut found: Matches<'_> = found;
        // SAFETY: A `Name` ends with a NUL. The callback gets `found` only during the call, and
        // nothing else uses it.
        unsafe {
            bindings::kallsyms_on_each_match_symbol(
                Some(kernel_symbol),
                name.as_bytes_with_nul().as_ptr().cast(),
                (&raw mut found).cast(),
            );
        }
    }

    fn each_match_in(
        &self,
        object: &Name,
        name: &Name,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let mut wanted = Named { name, found };
        // SAFETY: A `Name` ends with a NUL. The callback gets `wanted` only during the call, and
        // nothing else uses it.
        unsafe {
            bindings::module_kallsyms_on_each_symbol(
                object.as_bytes_with_nul().as_ptr().cast(),
                Some(named_symbol),
                (&raw mut wanted).cast(),
            );
        }
    }

    fn each_symbol(&self, object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        let mut found: All<'_> = found;
        // SAFETY: A `Name` ends with a NUL. The callback gets `found` only during the call, and
        // nothing else uses it.
        unsafe {
            bindings::module_kallsyms_on_each_symbol(
                object.as_bytes_with_nul().as_ptr().cast(),
                Some(module_symbol),
                (&raw mut found).cast(),
            );
        }
    }

    fn size_at(&self, address: usize) -> Option<usize> {
        let mut size: c_ulong = 0;
        // SAFETY: `size` can be written. The offset is null, so it is not written.
        let found = unsafe {
            bindings::kallsyms_lookup_size_offset(
                address as c_ulong,
                &raw mut size,
                core::ptr::null_mut(),
            )
        };
        (found != 0).then_some(size as usize)
    }
}
