// SPDX-License-Identifier: GPL-2.0

//! Atomics built on those of the standard library.

use super::{AcquireOrRelaxed, Full, Relaxed, ReleaseOrRelaxed};
use std::cell::{RefCell, UnsafeCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

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
    /// `at` is valid, aligned, and accessed by the methods of this trait only.
    unsafe fn store(at: *mut Self, value: Self, ordering: Ordering);

    /// Returns the value that a load which found `value` has to yield.
    fn loaded(value: Self) -> Self {
        value
    }

    /// Reports that `value` is about to be stored.
    fn storing(_value: Self) {}
}

/// Observes the calling thread's accesses to an `Atomic<i32>`, so that a test can intervene.
pub trait Observer {
    /// A load has found `value`. Returns the value that the load yields.
    fn load(&self, value: i32) -> i32;
    /// `value` is about to be stored.
    fn store(&self, value: i32);
}

thread_local! {
    static OBSERVER: RefCell<Option<Rc<dyn Observer>>> = const { RefCell::new(None) };
}

/// Sets the calling thread's observer.
pub fn observe(observer: Option<Rc<dyn Observer>>) {
    OBSERVER.set(observer);
}

fn observer() -> Option<Rc<dyn Observer>> {
    OBSERVER.with_borrow(Option::clone)
}

macro_rules! atomic_types {
    ($($type:ty => $atomic:ty { $($observed:item)* })*) => {$(
        // SAFETY: The methods use the standard library's atomics.
        unsafe impl AtomicType for $type {
            unsafe fn load(at: *mut Self, ordering: Ordering) -> Self {
                // SAFETY: `at` is valid and aligned, and this trait's methods access it only
                // atomically.
                unsafe { <$atomic>::from_ptr(at) }.load(ordering)
            }

            unsafe fn store(at: *mut Self, value: Self, ordering: Ordering) {
                // SAFETY: `at` is valid and aligned, and this trait's methods access it only
                // atomically.
                unsafe { <$atomic>::from_ptr(at) }.store(value, ordering);
            }

            $($observed)*
        }
    )*};
}

atomic_types! {
    i32 => AtomicI32 {
        fn loaded(value: i32) -> i32 {
            observer().map_or(value, |observer| observer.load(value))
        }

        fn storing(value: i32) {
            if let Some(observer) = observer() {
                observer.store(value);
            }
        }
    }
    usize => AtomicUsize {}
}

/// An atomic value.
#[repr(transparent)]
pub struct Atomic<T: AtomicType>(UnsafeCell<T>);

// SAFETY: All accesses through a shared reference are atomic.
unsafe impl<T: AtomicType> Sync for Atomic<T> {}

impl Atomic<usize> {
    /// Adds `value`.
    pub fn add(&self, value: usize, _: Relaxed) {
        // SAFETY: The cell is valid and aligned, and all accesses to it are atomic.
        unsafe { AtomicUsize::from_ptr(self.0.get()) }.fetch_add(value, Ordering::Relaxed);
    }

    /// Adds `value` and returns what was there before.
    pub fn fetch_add(&self, value: usize, _: Full) -> usize {
        // SAFETY: The cell is valid and aligned, and all accesses to it are atomic.
        unsafe { AtomicUsize::from_ptr(self.0.get()) }.fetch_add(value, Ordering::SeqCst)
    }
}

impl<T: AtomicType> Atomic<T> {
    /// Creates an atomic with a first value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Loads the value.
    pub fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        // SAFETY: The cell is valid and aligned, and only the methods of `AtomicType` access it.
        T::loaded(unsafe { T::load(self.0.get(), O::ORDERING) })
    }

    /// Stores a value.
    pub fn store<O: ReleaseOrRelaxed>(&self, value: T, _: O) {
        T::storing(value);
        // SAFETY: The cell is valid and aligned, and only the methods of `AtomicType` access it.
        unsafe { T::store(self.0.get(), value, O::ORDERING) }
    }
}
