// SPDX-License-Identifier: GPL-2.0

//! Atomics built on loom's, which explores what the memory model allows.

use super::{AcquireOrRelaxed, Full, Relaxed, ReleaseOrRelaxed};
use crate::sync::weaken::is_weakened;
use loom::sync::atomic::{fence, AtomicI32, AtomicUsize};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::OnceLock;

/// Returns the ordering of an access at `place` that asks for `ordering`.
fn given(ordering: Ordering, place: &Location<'_>) -> Ordering {
    let kind = match ordering {
        Ordering::Acquire => "acquire",
        Ordering::Release => "release",
        _ => return ordering,
    };
    if is_weakened(place, kind) {
        Ordering::Relaxed
    } else {
        ordering
    }
}

/// The representation of an atomic of type `T`.
pub trait Cell<T> {
    /// Creates the representation with a first value.
    fn new(value: T) -> Self;
    /// Loads the value.
    fn load(&self, ordering: Ordering) -> T;
    /// Stores a value.
    fn store(&self, value: T, ordering: Ordering);
}

/// A type with atomic accesses.
pub trait AtomicType: Copy {
    /// The representation of the atomic.
    type Cell: Cell<Self>;
}

macro_rules! atomic_types {
    ($($type:ty => $atomic:ty),* $(,)?) => {$(
        impl AtomicType for $type {
            type Cell = $atomic;
        }

        impl Cell<$type> for $atomic {
            fn new(value: $type) -> Self {
                <$atomic>::new(value)
            }

            fn load(&self, ordering: Ordering) -> $type {
                self.load(ordering)
            }

            fn store(&self, value: $type, ordering: Ordering) {
                self.store(value, ordering);
            }
        }
    )*};
}

atomic_types! {
    i32 => AtomicI32,
    usize => AtomicUsize,
}

/// An atomic value.
///
/// loom's atomics can't be created in a `const`, so this one creates its own on the first access. A
/// test makes that access before it spawns the threads that share the value.
pub struct Atomic<T: AtomicType> {
    first: T,
    cell: OnceLock<T::Cell>,
}

impl Atomic<usize> {
    /// Adds `value`.
    pub fn add(&self, value: usize, _: Relaxed) {
        self.cell().fetch_add(value, Ordering::Relaxed);
    }

    /// Adds `value` and returns what was there before.
    #[track_caller]
    pub fn fetch_add(&self, value: usize, _: Full) -> usize {
        if is_weakened(Location::caller(), "full barrier") {
            return self.cell().fetch_add(value, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        let before = self.cell().fetch_add(value, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        before
    }
}

impl<T: AtomicType> Atomic<T> {
    /// Creates an atomic with a first value.
    pub const fn new(value: T) -> Self {
        Self {
            first: value,
            cell: OnceLock::new(),
        }
    }

    fn cell(&self) -> &T::Cell {
        self.cell.get_or_init(|| T::Cell::new(self.first))
    }

    /// Loads the value.
    #[track_caller]
    pub fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        self.cell().load(given(O::ORDERING, Location::caller()))
    }

    /// Stores a value.
    #[track_caller]
    pub fn store<O: ReleaseOrRelaxed>(&self, value: T, _: O) {
        self.cell()
            .store(value, given(O::ORDERING, Location::caller()));
    }
}
