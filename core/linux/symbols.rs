// SPDX-License-Identifier: GPL-2.0

//! The kernel's symbol table.
//!
//! C header: [`include/linux/kallsyms.h`](srctree/include/linux/kallsyms.h).

use crate::Linux;
use core::{
    ffi::CStr,
    ops::ControlFlow, //
};
use kernel::{
    bindings,
    prelude::*, //
};
use livepatch_core::symbol::{
    Name,
    Symbols, //
};

/// What the callbacks of kallsyms get.
struct Search<'a> {
    name: &'a Name,
    found: &'a mut dyn FnMut(usize) -> ControlFlow<()>,
}

impl Search<'_> {
    fn report(&mut self, address: c_ulong) -> c_int {
        match (self.found)(address as usize) {
            ControlFlow::Continue(()) => 0,
            ControlFlow::Break(()) => 1,
        }
    }
}

/// A symbol of the kernel whose name matches.
///
/// # Safety
///
/// `data` points to a [`Search`] that nobody else uses.
unsafe extern "C" fn kernel_symbol(data: *mut c_void, address: c_ulong) -> c_int {
    // SAFETY: As the caller promises.
    let search = unsafe { &mut *data.cast::<Search<'_>>() };
    search.report(address)
}

/// Any symbol of a module.
///
/// # Safety
///
/// As for [`kernel_symbol`]; `name` is a valid C string.
unsafe extern "C" fn module_symbol(
    data: *mut c_void,
    name: *const c_char,
    address: c_ulong,
) -> c_int {
    // SAFETY: As the caller promises.
    let search = unsafe { &mut *data.cast::<Search<'_>>() };
    // SAFETY: As the caller promises.
    let name = unsafe { CStr::from_ptr(name.cast()) };
    if name.to_bytes() != search.name.as_bytes() {
        return 0;
    }
    search.report(address)
}

impl Symbols for Linux {
    fn each_match(
        &self,
        object: Option<&Name>,
        name: &Name,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let mut search = Search { name, found };
        let data = (&raw mut search).cast();
        match object {
            // SAFETY: Names end with a NUL; the callback gets `data` only while `search` lives.
            Some(object) => unsafe {
                bindings::module_kallsyms_on_each_symbol(
                    object.as_bytes_with_nul().as_ptr().cast(),
                    Some(module_symbol),
                    data,
                );
            },
            // SAFETY: As above.
            None => unsafe {
                bindings::kallsyms_on_each_match_symbol(
                    Some(kernel_symbol),
                    name.as_bytes_with_nul().as_ptr().cast(),
                    data,
                );
            },
        }
    }

    fn size_at(&self, address: usize) -> Option<usize> {
        let mut size: c_ulong = 0;
        // SAFETY: `size` may be written; a null offset is not.
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
