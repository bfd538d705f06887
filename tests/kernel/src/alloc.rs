// SPDX-License-Identifier: GPL-2.0

//! Fallible containers, with failures on demand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

thread_local! {
    static UNTIL_FAILURE: Cell<Option<usize>> = const { Cell::new(None) };
    static CONTENTS: RefCell<(usize, BTreeSet<usize>)> = const { RefCell::new((0, BTreeSet::new())) };
}

/// Identifies the contents of a box by number until the box is freed or may be written to. So a
/// test can tell whether a concurrent reader would still find the same contents.
#[derive(Debug)]
struct Content(usize);

impl Content {
    fn new() -> Self {
        CONTENTS.with_borrow_mut(|(last, alive)| {
            *last += 1;
            alive.insert(*last);
            Self(*last)
        })
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        CONTENTS.with_borrow_mut(|(_, alive)| alive.remove(&self.0));
    }
}

/// Returns the contents of the calling thread's boxes, as numbered by [`KBox::content`].
pub fn contents() -> BTreeSet<usize> {
    CONTENTS.with_borrow(|(_, alive)| alive.clone())
}

/// Makes the calling thread's allocations fail after `allocations` more of them. `None`: never.
pub fn fail_after(allocations: Option<usize>) {
    UNTIL_FAILURE.set(allocations);
}

fn allocate() -> Result<(), AllocError> {
    match UNTIL_FAILURE.get() {
        None => Ok(()),
        Some(0) => Err(AllocError),
        Some(left) => {
            UNTIL_FAILURE.set(Some(left - 1));
            Ok(())
        }
    }
}

/// The error of a failed allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// Allocation flags.
#[derive(Clone, Copy)]
pub struct Flags;

/// The flags, by name.
pub mod flags {
    /// The allocation may sleep.
    pub const GFP_KERNEL: super::Flags = super::Flags;
}

/// A value in its own memory.
#[derive(Debug)]
pub struct KBox<T>(Box<T>, Content);

impl<T> KBox<T> {
    /// Moves `value` into newly allocated memory.
    pub fn new(value: T, _: Flags) -> Result<Self, AllocError> {
        allocate()?;
        Ok(Self(Box::new(value), Content::new()))
    }

    /// Returns the number of the box's contents, see [`contents`].
    pub fn content(&self) -> usize {
        self.1 .0
    }

    /// Takes the value out of the box.
    pub fn into_inner(boxed: Self) -> T {
        *boxed.0
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.1 = Content::new();
        &mut self.0
    }
}

/// A growing array.
#[derive(Debug, PartialEq, Eq)]
pub struct KVec<T>(Vec<T>);

/// The error of [`KVec::push_within_capacity`]: there is no room.
#[derive(Debug)]
pub struct PushError<T>(pub T);

/// The error of [`KVec::insert_within_capacity`].
#[derive(Debug)]
pub enum InsertError<T> {
    /// The index is past the end.
    IndexOutOfBounds(T),
    /// There is no room.
    OutOfCapacity(T),
}

/// The error of [`KVec::remove`]: there is nothing at the index.
#[derive(Debug)]
pub struct RemoveError;

impl<T> KVec<T> {
    /// Creates an empty array without memory.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Creates an empty array with room for `capacity` elements.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut new = Self::new();
        new.reserve(capacity, flags)?;
        Ok(new)
    }

    /// Makes room for `additional` more elements.
    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() < additional {
            allocate()?;
            self.0.reserve(additional);
        }
        Ok(())
    }

    /// Appends an element.
    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    /// Appends an element if there is room.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.0.len() == self.0.capacity() {
            return Err(PushError(value));
        }
        self.0.push(value);
        Ok(())
    }

    /// Inserts an element if there is room.
    pub fn insert_within_capacity(&mut self, index: usize, value: T) -> Result<(), InsertError<T>> {
        if index > self.0.len() {
            return Err(InsertError::IndexOutOfBounds(value));
        }
        if self.0.len() == self.0.capacity() {
            return Err(InsertError::OutOfCapacity(value));
        }
        self.0.insert(index, value);
        Ok(())
    }

    /// Appends copies of the elements of a slice.
    pub fn extend_from_slice(&mut self, slice: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.reserve(slice.len(), flags)?;
        self.0.extend_from_slice(slice);
        Ok(())
    }

    /// Removes and returns an element.
    pub fn remove(&mut self, index: usize) -> Result<T, RemoveError> {
        if index < self.0.len() {
            Ok(self.0.remove(index))
        } else {
            Err(RemoveError)
        }
    }

    /// Removes and returns the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the elements for which `keep` returns true.
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(keep);
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
