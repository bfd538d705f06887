// SPDX-License-Identifier: GPL-2.0

//! Atomics over the standard library's.

use super::{AcquireOrRelaxed, Relaxed, ReleaseOrRelaxed};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// A type with atomic accesses.
///
/// # Safety
///
/// The methods access the value only atomically.
pub unsafe trait AtomicType: Copy {
    /// Loads the value.
    ///
    /// # Safety
    ///
    /// `at` is valid, aligned, and accessed by the methods of this trait only.
    unsafe fn load(at: *mut Self, ordering: Ordering) -> Self;
    /// Stores a value.
    ///
    /// # Safety
    ///
    /// As for [`Self::load`].
    unsafe fn store(at: *mut Self, value: Self, ordering: Ordering);
    /// Stores a value and returns the one before.
    ///
    /// # Safety
    ///
    /// As for [`Self::load`].
    unsafe fn swap(at: *mut Self, value: Self, ordering: Ordering) -> Self;
}

macro_rules! atomic_types {
    ($($type:ty => $atomic:ty),* $(,)?) => {$(
        // SAFETY: The methods use the standard library's atomics.
        unsafe impl AtomicType for $type {
            unsafe fn load(at: *mut Self, ordering: Ordering) -> Self {
                // SAFETY: As the caller promises.
                unsafe { <$atomic>::from_ptr(at) }.load(ordering)
            }

            unsafe fn store(at: *mut Self, value: Self, ordering: Ordering) {
                // SAFETY: As the caller promises.
                unsafe { <$atomic>::from_ptr(at) }.store(value, ordering);
            }

            unsafe fn swap(at: *mut Self, value: Self, ordering: Ordering) -> Self {
                // SAFETY: As the caller promises.
                unsafe { <$atomic>::from_ptr(at) }.swap(value, ordering)
            }
        }
    )*};
}

atomic_types! {
    bool => AtomicBool,
    i32 => AtomicI32,
    usize => AtomicUsize,
}

/// An atomic value.
#[repr(transparent)]
pub struct Atomic<T: AtomicType>(UnsafeCell<T>);

// SAFETY: All accesses are atomic.
unsafe impl<T: AtomicType> Sync for Atomic<T> {}

impl<T: AtomicType> Atomic<T> {
    /// With a first value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Loads the value.
    pub fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        // SAFETY: The cell is valid and aligned, and only accessed here.
        unsafe { T::load(self.0.get(), O::ORDERING) }
    }

    /// Stores a value.
    pub fn store<O: ReleaseOrRelaxed>(&self, value: T, _: O) {
        // SAFETY: As for `load`.
        unsafe { T::store(self.0.get(), value, O::ORDERING) }
    }

    /// Stores a value and returns the one before.
    pub fn xchg(&self, value: T, _: Relaxed) -> T {
        // SAFETY: As for `load`.
        unsafe { T::swap(self.0.get(), value, Ordering::Relaxed) }
    }
}
