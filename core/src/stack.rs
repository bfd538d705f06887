// SPDX-License-Identifier: GPL-2.0

//! Stack check: is a task inside one of the functions that are changing?
//!
//! C counterpart: `klp_check_stack()` in `kernel/livepatch/transition.c`, which walks all functions
//! for each entry of the stack. Here the address ranges are sorted once per transition and each
//! entry costs a binary search. While others can see it the table does not change, so that the
//! scheduler can use it without the core's lock. Its memory comes with the patch: to disable one, or
//! to let a module go, nothing is allocated.

use crate::transition::State;
use kernel::prelude::*;

/// Most entries of a stack that are looked at; a deeper stack counts as unreliable.
pub const MAX_ENTRIES: usize = 100;

/// A stretch of code: `start..start + size`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: usize,
    /// Number of bytes.
    pub size: usize,
}

impl Range {
    fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.size
    }
}

/// A range, the function that it stands for, and that function's place in the patch.
struct Entry<F> {
    range: Range,
    order: usize,
    function: F,
}

/// The ranges of one direction, sorted by address.
struct Table<F> {
    entries: KVec<Entry<F>>,
    /// From the first range to the end of the last.
    all: Range,
}

impl<F: Copy> Table<F> {
    fn with_capacity(functions: usize) -> Result<Self> {
        Ok(Self {
            entries: KVec::with_capacity(functions, GFP_KERNEL)?,
            all: Range { start: 0, size: 0 },
        })
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.all.size = 0;
    }

    fn find(&self, address: usize) -> Option<&Entry<F>> {
        if !self.all.contains(address) {
            return None;
        }
        let after = self
            .entries
            .partition_point(|entry| entry.range.start <= address);
        let before = self.entries.get(..after)?;
        // Aliases share a start; of those the first in the patch was sorted last.
        let entry = before.last()?;
        entry.range.contains(address).then_some(entry)
    }

    fn sort(&mut self) {
        self.entries
            .sort_unstable_by_key(|entry| (entry.range.start, core::cmp::Reverse(entry.order)));
        let start = self.entries.first().map_or(0, |entry| entry.range.start);
        let sizes = self.entries.iter().map(|entry| {
            let before = entry.range.start.wrapping_sub(start);
            before.saturating_add(entry.range.size)
        });
        self.all = Range {
            start,
            size: sizes.max().unwrap_or(0),
        };
    }
}

/// The functions that a transition changes, ready to be searched for in either direction.
///
/// `F` identifies a function for messages.
pub struct StackCheck<F> {
    /// What runs before the change: to be left when patching.
    old: Table<F>,
    /// What runs after it: to be left when unpatching.
    new: Table<F>,
}

impl<F: Copy> StackCheck<F> {
    /// An empty table with room for `functions`, all that it will ever hold. Errors: `ENOMEM`.
    pub fn with_capacity(functions: usize) -> Result<Self> {
        Ok(Self {
            old: Table::with_capacity(functions)?,
            new: Table::with_capacity(functions)?,
        })
    }

    /// Forgets all functions; their room stays.
    pub fn clear(&mut self) {
        self.old.clear();
        self.new.clear();
    }

    /// Adds a function that changes from `old` to `new`. Errors: `ENOMEM` where there is no room.
    pub fn push(&mut self, function: F, old: Range, new: Range) -> Result {
        let order = self.old.entries.len();
        for (table, range) in [(&mut self.old, old), (&mut self.new, new)] {
            let entry = Entry {
                range,
                order,
                function,
            };
            let pushed = table.entries.push_within_capacity(entry);
            pushed.map_err(|_| ENOMEM)?;
        }
        Ok(())
    }

    /// Sorts what was pushed. To be called once, before [`Self::find`].
    pub fn finish(&mut self) {
        self.old.sort();
        self.new.sort();
    }

    /// The first function of the patch that keeps a task with the stack `entries` (return
    /// addresses) from moving to `target`, `None` where it is free to move.
    pub fn find(&self, target: State, entries: &[usize]) -> Option<F> {
        let table = self.table(target);
        entries
            .iter()
            .filter_map(|&address| table.find(address))
            .min_by_key(|entry| entry.order)
            .map(|entry| entry.function)
    }

    /// Whether any of the words on a stack points into a function that keeps a task from moving to
    /// `target`.
    pub fn points_into(&self, target: State, words: &[usize]) -> bool {
        let table = self.table(target);
        words.iter().any(|&word| table.find(word).is_some())
    }

    /// What is to be left when moving to `target`.
    fn table(&self, target: State) -> &Table<F> {
        match target {
            State::Unpatched => &self.new,
            State::Patched | State::Idle => &self.old,
        }
    }
}
