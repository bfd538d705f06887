// SPDX-License-Identifier: GPL-2.0

//! System states.

use crate::{
    bindings,
    livepatch::{
        module::Livepatch,
        Object, //
    },
    prelude::*,
    sync::Arc,
    types::ForeignOwnable, //
};
use core::marker::PhantomData;

/// A change that live patches make to the system beyond its functions, with a version.
///
/// A live patch lists the states that it knows. Where another live patch has one of them, the
/// version of the new one must not be lower. A live patch that replaces others has to know all
/// states that they have. Otherwise loading it fails with `EINVAL`.
///
/// With data, a patch can also tell the next one what it needs to go on or to undo the change. The
/// patches share the data, and it is dropped with the last of them.
///
/// # Invariants
///
/// If `T` is not [`NoData`], the data of all states with this ID is null, or an [`Arc<T>`].
pub struct State<T = NoData> {
    id: c_ulong,
    version: c_uint,
    _data: PhantomData<fn() -> T>,
}

/// For a [`State`] that is nothing but a version.
// It is neither `Send` nor `Sync`, so such a state has no methods for data.
pub struct NoData(PhantomData<*mut ()>);

impl State {
    /// Declares a state that is nothing but a version.
    ///
    /// It does not build if the ID is 0.
    #[inline]
    pub const fn new(id: c_ulong, version: u32) -> Self {
        assert!(id != 0, "the ID of a system state must not be 0");
        // INVARIANT: There is no data.
        Self {
            id,
            version,
            _data: PhantomData,
        }
    }
}

impl<T: Send + Sync + 'static> State<T> {
    /// Declares a state with data.
    ///
    /// It does not build if the ID is 0.
    ///
    /// # Safety
    ///
    /// The ID is known to the whole kernel. Data lives on when the module that made it is gone, if
    /// a later patch has it.
    ///
    /// - Whoever uses the ID with data, in this module or in others, does so by a `State<T>` with
    ///   the same `T`. Modules written in C store no data in it. Two modules have the same `T` if
    ///   it has the same layout and meaning in both, whatever the version.
    /// - The data does not refer to this module: to its functions, vtables or statics.
    #[inline]
    pub const unsafe fn with_data(id: c_ulong, version: u32) -> Self {
        assert!(id != 0, "the ID of a system state must not be 0");
        // INVARIANT: The caller promises that all users of the ID are alike, and this type stores
        // nothing else.
        Self {
            id,
            version,
            _data: PhantomData,
        }
    }

    /// Returns the data of this patch.
    #[inline]
    pub fn data(&self, object: &Object<'_>) -> Option<Arc<T>> {
        // SAFETY: `object.patch` points to a patch that lives as long as `object`, whose
        // states do not change while the livepatch core holds its lock, as it does here.
        let state = unsafe { bindings::klp_get_state(object.patch, self.id) };
        // SAFETY: `state` is null, or the state of a valid patch, whose lock is held.
        unsafe { self.share(state) }
    }

    /// Changes the data of this patch.
    ///
    /// Fails with `ENOENT` if the patch does not list the state.
    #[inline]
    pub fn set_data(&self, object: &Object<'_>, data: Option<Arc<T>>) -> Result {
        // SAFETY: `object.patch` points to a patch that lives as long as `object`, whose
        // states do not change while the livepatch core holds its lock, as it does here.
        let state = unsafe { bindings::klp_get_state(object.patch, self.id) };
        if state.is_null() {
            return Err(ENOENT);
        }
        let new = data.map_or(core::ptr::null_mut(), Arc::into_foreign);
        // SAFETY: The state is valid. By the invariants of `Object`, the lock is held that guards
        // the data.
        let old = unsafe { core::ptr::replace(&raw mut (*state).data, new) };
        // SAFETY: By the type invariants this is null or an `Arc<T>`, and it is no longer stored.
        drop(unsafe { Arc::<T>::try_from_foreign(old) });
        Ok(())
    }

    /// Returns the data that the live patch before this one has for the state.
    ///
    /// See [`previous_version`](Self::previous_version) for what that is and when to ask.
    #[inline]
    pub fn previous_data(&self, object: &Object<'_>) -> Option<Arc<T>> {
        // SAFETY: This is null, or the state of a patch that is in use. The lock is held.
        unsafe { self.share(self.previous(object)) }
    }

    /// Returns the data of a state.
    ///
    /// # Safety
    ///
    /// `state` is null, or a valid state with this ID. The lock of the livepatch core is held.
    #[inline]
    unsafe fn share(&self, state: *mut bindings::klp_state) -> Option<Arc<T>> {
        if state.is_null() {
            return None;
        }
        // SAFETY: The state is valid. Data changes only with the lock held.
        let data = unsafe { (*state).data };
        if data.is_null() {
            return None;
        }
        // SAFETY: By the type invariants this is an `Arc<T>`. The state keeps it during the call.
        Some(unsafe { Arc::<T>::borrow(data) }.into())
    }
}

impl<T: 'static> State<T> {
    /// Returns the version that the live patch before this one has, or [`None`] if no other live
    /// patch knows the state.
    ///
    /// That is the newest one that knows it. The question makes sense while this patch is being
    /// enabled or disabled. When a module comes or goes at another time, the kernel warns about it.
    #[inline]
    pub fn previous_version(&self, object: &Object<'_>) -> Option<u32> {
        let state = self.previous(object);
        // SAFETY: A state that is not null belongs to a patch that is in use.
        (!state.is_null()).then(|| unsafe { (*state).version })
    }

    #[inline]
    fn previous(&self, _object: &Object<'_>) -> *mut bindings::klp_state {
        // SAFETY: The function walks the list of patches, which the livepatch core's lock guards.
        // An `Object` exists only while the core holds that lock for this thread.
        unsafe { bindings::klp_get_prev_state(self.id) }
    }

    /// Returns the entry in the patch's list.
    #[doc(hidden)]
    #[inline]
    pub const fn entry(&self) -> bindings::klp_state {
        bindings::klp_state {
            id: self.id,
            version: self.version,
            data: core::ptr::null_mut(),
        }
    }

    /// Drops the patch's reference to the data.
    ///
    /// # Safety
    ///
    /// The patch was not enabled, or is no longer in use.
    #[doc(hidden)]
    #[inline]
    pub unsafe fn release<P: Livepatch>(&self) {
        // SAFETY: The patch is valid.
        let state = unsafe { bindings::klp_get_state(P::patch(), self.id) };
        if state.is_null() {
            return;
        }
        // SAFETY: The state is valid, and nobody else accesses it.
        let data = unsafe { core::ptr::replace(&raw mut (*state).data, core::ptr::null_mut()) };
        if !data.is_null() {
            // SAFETY: Only `set_data` stores data, as an `Arc<T>`.
            drop(unsafe { Arc::<T>::from_foreign(data) });
        }
    }
}
