// SPDX-License-Identifier: GPL-2.0

//! Live patches.
//!
//! A live patch is a module with replacements for functions of the running kernel. It is a call of
//! [`module_livepatch!`], which lists the functions, and the replacements themselves. The
//! replacements are safe functions. What is unsafe is to put one in the place of a function that
//! the rest of the kernel calls, so each entry of the list begins with `unsafe`.
//!
//! | to | use |
//! |---|---|
//! | replace functions | [`module_livepatch!`] |
//! | act when an object is patched or no longer patched | [`Callbacks`] |
//! | attach data to objects that exist already | [`Shadow`] |
//! | tell later patches what this one has changed in the system | [`State`] |
//!
//! This uses only the C interface of live patching, so a live patch does not depend on which
//! livepatch core the kernel has.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)
//!
//! [`module_livepatch!`]: crate::module_livepatch!

use crate::{
    bindings,
    prelude::*,
    str::CStrExt as _,
    types::NotThreadSafe, //
};
use core::marker::PhantomData;

#[doc(hidden)]
pub mod module;
mod prototype;
mod shadow;
mod state;

#[doc(hidden)]
pub use prototype::Old;
pub use prototype::PassedAs;
pub use shadow::{
    Ref,
    Shadow,
    Variable, //
};
pub use state::{
    NoData,
    State, //
};

/// An object that is patched: the kernel itself, or a module.
///
/// Callbacks get a reference to one. It is evidence that the livepatch core is calling, and holds
/// its lock.
///
/// # Invariants
///
/// - `raw` is an object of `patch`. Both are valid for `'a`.
/// - The livepatch core holds its lock for `'a`.
pub struct Object<'a> {
    raw: *mut bindings::klp_object,
    patch: *mut bindings::klp_patch,
    _call: PhantomData<&'a ()>,
    // The lock is held for this thread.
    _not_send: NotThreadSafe,
}

impl Object<'_> {
    /// Makes the argument of a callback.
    ///
    /// # Safety
    ///
    /// `raw` is an object of `patch`. Both are valid for the object's lifetime, and the livepatch
    /// core holds its lock for that long.
    #[inline]
    unsafe fn new(raw: *mut bindings::klp_object, patch: *mut bindings::klp_patch) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            raw,
            patch,
            _call: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    /// Returns the name of the module, or [`None`] for the kernel itself.
    #[inline]
    pub fn module(&self) -> Option<&CStr> {
        // SAFETY: By the type invariants, the object is valid. Its name does not change.
        let name = unsafe { (*self.raw).name };
        if name.is_null() {
            return None;
        }
        // SAFETY: A name that is not null is a C string, and lives as long as the object.
        Some(unsafe { CStr::from_char_ptr(name) })
    }
}

/// What to run when an object is patched and when it is no longer patched.
///
/// The kernel itself is patched when the live patch is enabled. A module is patched then too, or
/// later when it is loaded. All functions are optional. They run in process context, with the lock
/// of the livepatch core held, so they must not wait for a live patch to be enabled or disabled.
///
/// A live patch that replaces others takes over from them: none of their functions is called.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::{Callbacks, Object},
///     prelude::*,
/// };
///
/// struct Announce;
///
/// #[vtable]
/// impl Callbacks for Announce {
///     fn pre_patch(object: &Object<'_>) -> Result {
///         pr_info!("about to patch {:?}\n", object.module());
///         Ok(())
///     }
/// }
/// ```
#[vtable]
pub trait Callbacks {
    /// Runs before the object is patched.
    ///
    /// After an error the live patch is not enabled, or the module is not loaded, and none of the
    /// other functions is called for the object.
    fn pre_patch(_object: &Object<'_>) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Runs when the object has been patched, and every task uses the replacements.
    fn post_patch(_object: &Object<'_>) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Runs before the object goes back to its own functions.
    fn pre_unpatch(_object: &Object<'_>) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Runs when no task uses the replacements any longer.
    ///
    /// It also runs if the patch is taken back before every task has got the replacements. Then
    /// [`post_patch`](Self::post_patch) has not run.
    fn post_unpatch(_object: &Object<'_>) {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}
