// SPDX-License-Identifier: GPL-2.0

//! Stack check: is a task inside one of the functions that are changing?
//!
//! C counterpart: `klp_check_stack()` in `kernel/livepatch/transition.c`, which walks all functions
//! for each entry of the stack. Here the address ranges are sorted once per transition and each
//! entry costs a binary search. While others can see it the table does not change, so that the
//! scheduler can use it without the core's lock. Its memory comes with the patch: to disable one, or
//! to let a module go, nothing is allocated.
//!
//! # In the tracer's trampoline
//!
//! A task can be preempted between two functions: the original has called the tracer, the handler
//! has chosen, and the trampoline has not jumped there yet. What was chosen is not on the stack, but
//! the return address of the call is, at the entry of the original, until it makes way for the address
//! that was chosen. (Where a stack with an exception on it does not count as reliable, nothing of this
//! is seen, nor needed; x86's ORC unwinder takes such stacks for what they are.) So whoever is at the
//! entry of the original is inside too, in either direction, whichever versions a patch is about. The
//! C core does not look there; it waits for tasks-RCU before it gives up an `ftrace_ops`, which covers
//! part of it.

use super::{
    sort::sort_by_key,
    transition::State, //
};
use kernel::prelude::*;

/// A stretch of code: `start..start + size`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: usize,
    /// Number of bytes.
    pub size: usize,
}

impl Range {
    #[inline(always)]
    const fn contains(&self, address: usize) -> bool {
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
        // What shares a start: the largest was sorted last, and of aliases the first in the patch.
        let entry = before.last()?;
        entry.range.contains(address).then_some(entry)
    }

    fn sort(&mut self) {
        sort_by_key(&mut self.entries, |entry| {
            let Range { start, size } = entry.range;
            (start, size, core::cmp::Reverse(entry.order))
        });
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

    fn push(&mut self, function: F, order: usize, range: Range) -> Result {
        let entry = Entry {
            range,
            order,
            function,
        };
        let pushed = self.entries.push_within_capacity(entry);
        pushed.map_err(|_| ENOMEM)
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
    /// Number of functions.
    functions: usize,
}

impl<F: Copy> StackCheck<F> {
    /// An empty table with room for `functions`, all that it will ever hold. Errors: `ENOMEM`.
    pub fn with_capacity(functions: usize) -> Result<Self> {
        // A range and an entry for each.
        let ranges = functions.saturating_mul(2);
        Ok(Self {
            old: Table::with_capacity(ranges)?,
            new: Table::with_capacity(ranges)?,
            functions: 0,
        })
    }

    /// Forgets all functions; their room stays.
    pub fn clear(&mut self) {
        self.old.clear();
        self.new.clear();
        self.functions = 0;
    }

    /// Adds a function that changes from `old` to `new`, and whose original calls the tracer at
    /// `entry`. Errors: `ENOMEM` where there is no room.
    pub fn push(&mut self, function: F, entry: Range, old: Range, new: Range) -> Result {
        let order = self.functions;
        self.functions = order.saturating_add(1);
        for (table, own) in [(&mut self.old, old), (&mut self.new, new)] {
            table.push(function, order, own)?;
            // The original itself is one range with its entry.
            if own.start != entry.start {
                table.push(function, order, entry)?;
            }
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
        // Once for each word on thousands of stacks: next to all of them end here.
        let all = table.all;
        let near = |word: &&usize| all.contains(**word);
        words
            .iter()
            .filter(near)
            .any(|&word| table.find(word).is_some())
    }

    /// What is to be left when moving to `target`.
    fn table(&self, target: State) -> &Table<F> {
        match target {
            State::Unpatched => &self.new,
            State::Patched | State::Idle => &self.old,
        }
    }
}
