// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: data attached to an object that has no field for it.
//!
//! A variable belongs to the pair of an object's address and an identifier. The table itself, its
//! lock, and its readers that take no lock are the [`Store`]'s; here is what happens in which order.
//!
//! C counterpart: `kernel/livepatch/shadow.c`.

use kernel::prelude::*;

/// What a variable is attached to, and under which identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The object's address.
    pub object: usize,
    /// The identifier.
    pub id: usize,
}

/// A table of shadow variables.
pub trait Store {
    /// Where a variable's data is.
    type Data: Copy;
    /// A variable that is not in the table.
    type Variable;
    /// Evidence that the table's lock is held.
    type Locked;

    /// The variable `key`, without the lock. Safe in any context.
    fn get(&self, key: Key) -> Option<Self::Data>;
    /// A new variable for `key`, zeroed. `None`: no memory.
    fn allocate(&self, key: Key) -> Option<Self::Variable>;
    /// Runs the caller's constructor on a variable that is about to be added, with the lock held.
    /// What it returns other than 0 is the error.
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
    /// It was there.
    Existing(D),
    /// There is no memory.
    NoMemory,
    /// The constructor failed with this error; nothing was added.
    NotConstructed(c_int),
}

/// Finds the variable `key`, or makes it.
///
/// However many callers ask at once, one variable comes into being and its constructor runs once.
/// C counterpart: `__klp_shadow_get_or_alloc()`.
pub fn get_or_allocate<S: Store>(store: &S, key: Key) -> Outcome<S::Data> {
    if let Some(data) = store.get(key) {
        return Outcome::Existing(data);
    }
    // Memory comes before the lock, under which there is no waiting for it.
    let Some(mut variable) = store.allocate(key) else {
        return Outcome::NoMemory;
    };
    store.lock(|locked| {
        // Someone may have been faster.
        if let Some(data) = store.get(key) {
            return Outcome::Existing(data);
        }
        match store.construct(locked, &mut variable) {
            Ok(()) => Outcome::New(store.add(locked, variable)),
            Err(error) => Outcome::NotConstructed(error),
        }
    })
}
