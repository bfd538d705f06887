// SPDX-License-Identifier: GPL-2.0

//! Shadow variables.

use crate::{
    alloc::Flags,
    bindings,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::Relaxed,
        rcu,
        Refcount, //
    },
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    mem::size_of,
    ops::Deref,
    ptr::NonNull, //
};

/// A shadow variable: a `T` that is attached to objects of the type `O`, which don't know of it.
///
/// This is a name for a variable, and not a value. Each object can have one value. The objects are
/// told apart by their addresses. An object is never accessed, and may be gone already.
///
/// Lookups give a counted reference, so a value lives until nobody uses it, although others may
/// have detached it from its object meanwhile.
///
/// # Invariants
///
/// The data of all shadow variables with this ID is a pointer to a [`Variable<T>`], which owns a
/// reference to it.
///
/// # Examples
///
/// ```
/// use kernel::{
///     livepatch::Shadow,
///     prelude::*, //
/// };
///
/// struct Device;
///
/// // SAFETY: No other module uses this ID, and a number refers to nothing.
/// const RESETS: Shadow<Device, u32> = unsafe { Shadow::new(0x646f63) };
///
/// let device = Device;
/// assert!(RESETS.get(&device).is_none());
/// assert_eq!(**RESETS.get_or_alloc(&device, 3, GFP_KERNEL)?, 3);
/// assert_eq!(**RESETS.get_or_alloc(&device, 4, GFP_KERNEL)?, 3);
///
/// let resets = RESETS.get(&device).ok_or(ENOENT)?;
/// RESETS.free(&device);
/// assert!(RESETS.get(&device).is_none());
/// assert_eq!(**resets, 3);
///
/// // What can't be made leaves nothing behind.
/// assert!(RESETS.get_or_alloc(&device, Err(EINVAL), GFP_KERNEL).is_err());
/// assert!(RESETS.get(&device).is_none());
/// # Ok::<(), Error>(())
/// ```
pub struct Shadow<O, T> {
    id: c_ulong,
    _types: PhantomData<fn(*const O) -> T>,
}

/// A counted reference to the value of a shadow variable.
pub type Ref<T> = ARef<Variable<T>>;

/// The value of a shadow variable, behind a [`Ref`].
#[pin_data]
#[repr(C)]
pub struct Variable<T> {
    refs: Refcount,
    rcu: Opaque<bindings::kvfree_rcu_head>,
    #[pin]
    value: T,
}

// SAFETY: The count and the head for RCU can be used by all threads, and by one at a time.
unsafe impl<T: Send> Send for Variable<T> {}

// SAFETY: The count can be used by all threads. The head for RCU is only used by the last one.
unsafe impl<T: Sync> Sync for Variable<T> {}

impl<T> Deref for Variable<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Variable<T> {
    /// Takes a reference, unless the value is being dropped.
    #[inline]
    fn try_inc_ref(&self) -> bool {
        let refs = self.refs.as_atomic();
        let mut count = refs.load(Relaxed);
        // The count stays where it is if it has overflown.
        while 0 < count && count < i32::MAX {
            match refs.cmpxchg(count, count + 1, Relaxed) {
                Ok(_) => return true,
                Err(current) => count = current,
            }
        }
        false
    }
}

// SAFETY: The count keeps the value. All instances are made by `Shadow::get_or_alloc`, which hands
// out references only.
unsafe impl<T> AlwaysRefCounted for Variable<T> {
    #[inline]
    fn inc_ref(&self) {
        self.refs.inc();
    }

    #[inline]
    unsafe fn dec_ref(variable: NonNull<Self>) {
        let raw = variable.as_ptr();
        // SAFETY: The caller gives up a reference, so the variable is valid.
        if unsafe { (*raw).refs.dec_and_test() } {
            // SAFETY: This was the last reference. A concurrent lookup may still read the count,
            // and gives up on it.
            unsafe { core::ptr::drop_in_place(&raw mut (*raw).value) };
            // SAFETY: The memory comes from a `KBox`, and nobody finds it any longer. Lookups that
            // have found it are in RCU read-side critical sections.
            unsafe { bindings::kvfree_call_rcu((*raw).rcu.get(), raw.cast()) };
        }
    }
}

impl<O, T: Send + Sync + 'static> Shadow<O, T> {
    /// Declares a shadow variable with this ID.
    ///
    /// # Safety
    ///
    /// The ID is known to the whole kernel. Values live on when the module that made them is gone,
    /// if they were not freed.
    ///
    /// - Whoever uses the ID, in this module or in others, does so by a `Shadow<_, T>` with the
    ///   same `T`. Modules written in C don't use it. Two modules have the same `T` if it has the
    ///   same layout and meaning in both.
    /// - Values don't refer to this module: to its functions, vtables or statics. Otherwise
    ///   [`free_all`](Self::free_all) is called before the module is gone.
    #[inline]
    pub const unsafe fn new(id: c_ulong) -> Self {
        // INVARIANT: The caller promises that all users of the ID are alike, and this type attaches
        // nothing else.
        Self {
            id,
            _types: PhantomData,
        }
    }

    /// Returns the object's value, if it has one.
    #[inline]
    pub fn get(&self, object: *const O) -> Option<Ref<T>> {
        let _guard = rcu::read_lock();
        // SAFETY: This has no requirements, since objects are not accessed.
        let slot = unsafe { bindings::klp_shadow_get(key(object), self.id) };
        let slot = NonNull::new(slot.cast::<NonNull<Variable<T>>>())?;
        // SAFETY: By the type invariants the data is such a pointer. It does not change, and is
        // valid until the end of the RCU read-side critical section, as is what it points to. A
        // variable is detached before it gives up its reference.
        unsafe {
            let variable = *slot.as_ptr();
            variable
                .as_ref()
                .try_inc_ref()
                .then(|| Ref::from_raw(variable))
        }
    }

    /// Returns the object's value. If it has none, attaches one that `init` makes.
    ///
    /// `init` can be a value, or an initializer that may fail. It runs in the caller's context, and
    /// only if there was no value. If another CPU attaches one meanwhile, what `init` has made is
    /// dropped again.
    ///
    /// Returns the error of `init`, or `ENOMEM`. Then nothing was attached.
    #[inline]
    pub fn get_or_alloc<E>(
        &self,
        object: *const O,
        init: impl PinInit<T, E>,
        flags: Flags,
    ) -> Result<Ref<T>>
    where
        Error: From<E>,
    {
        if let Some(variable) = self.get(object) {
            return Ok(variable);
        }
        let own = KBox::pin_init::<Error>(
            try_pin_init!(Variable {
                refs: Refcount::new(1),
                rcu: Opaque::uninit(),
                value <- init,
            }? Error),
            flags,
        )?;
        // SAFETY: The variable is not moved: it stays in its allocation.
        let own = KBox::into_raw(unsafe { Pin::into_inner_unchecked(own) });
        // SAFETY: A box is not null, and the count is 1.
        let own = unsafe { Ref::from_raw(NonNull::new_unchecked(own)) };
        loop {
            let mut new = Some(own.clone());
            // SAFETY: `attach` has the data that it expects.
            let slot = unsafe {
                bindings::klp_shadow_get_or_alloc(
                    key(object),
                    self.id,
                    size_of::<NonNull<Variable<T>>>(),
                    flags.as_raw(),
                    Some(attach::<T>),
                    (&raw mut new).cast(),
                )
            };
            if slot.is_null() {
                return Err(ENOMEM);
            }
            if new.is_none() {
                return Ok(own);
            }
            // Another CPU was faster. Its variable may be gone again.
            if let Some(variable) = self.get(object) {
                return Ok(variable);
            }
        }
    }

    /// Detaches the object's value, if it has one. It is dropped when nobody uses it.
    #[inline]
    pub fn free(&self, object: *const O) {
        // Keep the value beyond the call, which holds a spinlock.
        let _variable = self.get(object);
        // SAFETY: By the type invariants the data is what `detach` expects.
        unsafe { bindings::klp_shadow_free(key(object), self.id, Some(detach::<T>)) };
    }

    /// Detaches the values of all objects.
    ///
    /// Values that nobody uses are dropped with interrupts disabled and the lock of all shadow
    /// variables held. So their destructors must neither sleep nor use shadow variables.
    #[inline]
    pub fn free_all(&self) {
        // SAFETY: By the type invariants the data is what `detach` expects.
        unsafe { bindings::klp_shadow_free_all(self.id, Some(detach::<T>)) };
    }
}

/// Returns the address of an object.
#[inline]
fn key<O>(object: *const O) -> *mut c_void {
    object.cast_mut().cast()
}

/// Stores a new variable.
///
/// # Safety
///
/// `data` is the data of a new shadow variable, with room for a pointer. `new` points to an
/// `Option<Ref<T>>`, which nobody else accesses.
unsafe extern "C" fn attach<T>(_object: *mut c_void, data: *mut c_void, new: *mut c_void) -> c_int {
    // SAFETY: The caller promises this type, and that nobody else accesses it.
    let Some(variable) = (unsafe { (*new.cast::<Option<Ref<T>>>()).take() }) else {
        return EINVAL.to_errno();
    };
    // SAFETY: There is room for a pointer, which owns the reference from now on.
    unsafe {
        data.cast::<NonNull<Variable<T>>>()
            .write(Ref::into_raw(variable))
    };
    0
}

/// Gives up the reference of a variable that was detached.
///
/// # Safety
///
/// `data` has a pointer that `attach::<T>` has stored, whose reference is given up here only.
unsafe extern "C" fn detach<T>(_object: *mut c_void, data: *mut c_void) {
    // SAFETY: The caller promises that the pointer owns a reference.
    drop(unsafe { Ref::from_raw(*data.cast::<NonNull<Variable<T>>>()) });
}
