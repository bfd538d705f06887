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

#[cfg(test)]
#[kunit_tests(livepatch_shadow)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A table with room for four variables. The data of a variable is a number.
    struct Table {
        variables: Cell<[Option<(Key, usize)>; 4]>,
        /// Whether there is memory for new variables.
        memory: Cell<bool>,
        /// What the constructor returns.
        constructor: Cell<c_int>,
        /// The variable that another CPU adds as soon as the lock is free.
        faster: Cell<Option<(Key, usize)>>,
        allocated: Cell<usize>,
        constructed: Cell<usize>,
        locked: Cell<bool>,
        /// Whether anything was done that must not be done.
        misused: Cell<bool>,
    }

    impl Table {
        fn new() -> Self {
            Self {
                variables: Cell::new([None; 4]),
                memory: Cell::new(true),
                constructor: Cell::new(0),
                faster: Cell::new(None),
                allocated: Cell::new(0),
                constructed: Cell::new(0),
                locked: Cell::new(false),
                misused: Cell::new(false),
            }
        }

        fn all(&self) -> impl Iterator<Item = (Key, usize)> {
            self.variables.get().into_iter().flatten()
        }

        fn put(&self, variable: (Key, usize)) {
            let mut variables = self.variables.get();
            match variables.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(variable),
                None => self.misused.set(true),
            }
            self.variables.set(variables);
        }

        fn misused_if(&self, condition: bool) {
            self.misused.set(self.misused.get() || condition);
        }
    }

    impl Store for Table {
        type Data = usize;
        type Variable = (Key, usize);
        type Locked = ();

        fn get(&self, key: Key) -> Option<usize> {
            self.all().find(|own| own.0 == key).map(|own| own.1)
        }
        fn allocate(&self, key: Key) -> Option<(Key, usize)> {
            // Waiting for memory with the lock held.
            self.misused_if(self.locked.get());
            self.allocated.set(self.allocated.get() + 1);
            let data = 100 + self.allocated.get();
            self.memory.get().then_some((key, data))
        }
        fn construct(&self, (): &(), _: &mut (Key, usize)) -> Result<(), c_int> {
            self.constructed.set(self.constructed.get() + 1);
            match self.constructor.get() {
                0 => Ok(()),
                error => Err(error),
            }
        }
        fn add(&self, (): &(), variable: (Key, usize)) -> usize {
            // Added twice.
            self.misused_if(self.get(variable.0).is_some());
            self.put(variable);
            variable.1
        }
        fn lock<R>(&self, job: impl FnOnce(&()) -> R) -> R {
            if let Some(variable) = self.faster.take() {
                self.put(variable);
            }
            self.misused_if(self.locked.replace(true));
            let result = job(&());
            self.locked.set(false);
            result
        }
    }

    const KEY: Key = Key { object: 1, id: 2 };

    #[test]
    fn made_once_and_found_again() {
        let table = Table::new();
        assert_eq!(get_or_allocate(&table, KEY), Outcome::New(101));
        assert_eq!(get_or_allocate(&table, KEY), Outcome::Existing(101));
        let (other_id, other_object) = (Key { object: 1, id: 3 }, Key { object: 2, id: 2 });
        assert_eq!(get_or_allocate(&table, other_id), Outcome::New(102));
        assert_eq!(get_or_allocate(&table, other_object), Outcome::New(103));
        assert_eq!(table.constructed.get(), 3);
        assert!(!table.misused.get());
    }

    #[test]
    fn another_caller_was_faster() {
        let table = Table::new();
        table.faster.set(Some((KEY, 7)));
        assert_eq!(get_or_allocate(&table, KEY), Outcome::Existing(7));
        // One variable has one constructor.
        assert_eq!(table.constructed.get(), 0);
        assert_eq!(table.all().count(), 1);
        assert!(!table.misused.get());
    }

    #[test]
    fn without_memory_nothing_is_added() {
        let table = Table::new();
        table.memory.set(false);
        assert_eq!(get_or_allocate(&table, KEY), Outcome::NoMemory);
        assert_eq!(table.constructed.get(), 0);
        assert_eq!(table.all().count(), 0);
        assert!(!table.misused.get());
    }

    #[test]
    fn what_was_not_constructed_is_not_added() {
        let table = Table::new();
        table.constructor.set(-22);
        assert_eq!(get_or_allocate(&table, KEY), Outcome::NotConstructed(-22));
        assert_eq!(table.all().count(), 0);
        table.constructor.set(0);
        assert_eq!(get_or_allocate(&table, KEY), Outcome::New(102));
        assert!(!table.misused.get());
    }
}
