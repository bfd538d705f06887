// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: data attached to an object that has no field for it.
//!
//! A variable belongs to the pair of an object's address and an identifier. The [`Store`] has the
//! table, its lock and its lockless readers. This module has the order of the steps.
//!
//! C counterpart: `kernel/livepatch/shadow.c`.

use kernel::prelude::*;

/// The key of a variable: an object and an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The object's address.
    pub object: usize,
    /// The identifier.
    pub id: usize,
}

/// A table of shadow variables.
pub trait Store {
    /// A pointer to a variable's data.
    type Data: Copy;
    /// A variable that is not in the table.
    type Variable;
    /// Evidence that the table's lock is held.
    type Locked;

    /// Returns the data of the variable `key`. Takes no lock and is safe in any context.
    fn get(&self, key: Key) -> Option<Self::Data>;
    /// Allocates a zeroed variable for `key`. `None` if there is no memory.
    fn allocate(&self, key: Key) -> Option<Self::Variable>;
    /// Runs the caller's constructor on a variable that is about to be added, with the lock held. A
    /// return value of the constructor other than 0 is the error.
    fn construct(&self, locked: &Self::Locked, variable: &mut Self::Variable) -> Result<(), c_int>;
    /// Adds a variable.
    fn add(&self, locked: &Self::Locked, variable: Self::Variable) -> Self::Data;
    /// Takes the lock for as long as `job` runs.
    fn lock<R>(&self, job: impl FnOnce(&Self::Locked) -> R) -> R;
}

/// How [`get_or_allocate`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<D> {
    /// The variable is new.
    New(D),
    /// The variable existed before.
    Existing(D),
    /// There is no memory.
    NoMemory,
    /// The constructor failed with this error. Nothing was added.
    NotConstructed(c_int),
}

/// Finds the variable `key`, or creates it.
///
/// With concurrent callers, still only one variable is added, and its constructor runs once. C
/// counterpart: `__klp_shadow_get_or_alloc()`.
pub fn get_or_allocate<S: Store>(store: &S, key: Key) -> Outcome<S::Data> {
    if let Some(data) = store.get(key) {
        return Outcome::Existing(data);
    }
    // Allocate before the lock is taken: an allocation may sleep, and the lock's holder must not.
    let Some(mut variable) = store.allocate(key) else {
        return Outcome::NoMemory;
    };
    store.lock(|locked| {
        // A concurrent caller may have added the variable meanwhile.
        if let Some(data) = store.get(key) {
            return Outcome::Existing(data);
        }
        match store.construct(locked, &mut variable) {
            Ok(()) => Outcome::New(store.add(locked, variable)),
            Err(error) => Outcome::NotConstructed(error),
        }
    })
}
