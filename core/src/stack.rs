// SPDX-License-Identifier: GPL-2.0

//! Stack check: is a task inside one of the functions that are changing?
//!
//! C counterpart: `klp_check_stack()` in `kernel/livepatch/transition.c`, which walks all functions
//! for each entry of the stack. Here the address ranges are sorted once per transition and each
//! entry costs a binary search. The table does not change while it is published, so the scheduler
//! can use it without the core's lock. Its memory is allocated when the patch is enabled: neither
//! to disable a patch nor to unload a module needs an allocation.
//!
//! # In the tracer's trampoline
//!
//! A task can be preempted between two functions: the original has called the tracer, the handler
//! has chosen a version, and the trampoline has not jumped to it yet. The chosen version is not on
//! the stack. But the return address of the call, at the entry of the original, is on the stack
//! until the address of the chosen version replaces it. So a task at the entry of the original
//! counts as inside too, in either direction and for any pair of versions.
//!
//! This matters for x86's ORC unwinder, which unwinds through exceptions. On architectures where a
//! stack with an exception on it is not reliable, a task in this state is never seen, and the check
//! of the entry is not needed.
//!
//! The C core does not check the entry. It waits for tasks-RCU before it frees an `ftrace_ops`,
//! which covers part of the problem.

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

/// A range, its function, and the position of that function in the patch.
struct Entry<F> {
    range: Range,
    order: usize,
    function: F,
}

/// The ranges of one direction, sorted by address.
struct Table<F> {
    entries: KVec<Entry<F>>,
    /// The span of all ranges, from the lowest start to the highest end.
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
        // Of the ranges with one start, the largest is sorted last. Of aliases, the first in the
        // patch is.
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

/// The functions that a transition changes, sorted for the search in either direction.
///
/// `F` identifies a function for messages.
pub struct StackCheck<F> {
    /// The code that runs before the change. Tasks must leave it when patching.
    old: Table<F>,
    /// The code that runs after the change. Tasks must leave it when unpatching.
    new: Table<F>,
    /// Number of functions.
    functions: usize,
}

impl<F: Copy> StackCheck<F> {
    /// Creates an empty stack check with room for this many functions. It never grows. Errors:
    /// `ENOMEM`.
    pub fn with_capacity(functions: usize) -> Result<Self> {
        // Each function has the range of its code and the range of its entry.
        let ranges = functions.saturating_mul(2);
        Ok(Self {
            old: Table::with_capacity(ranges)?,
            new: Table::with_capacity(ranges)?,
            functions: 0,
        })
    }

    /// Removes all functions and keeps the memory.
    pub fn clear(&mut self) {
        self.old.clear();
        self.new.clear();
        self.functions = 0;
    }

    /// Adds a function that changes from `old` to `new` and whose original calls the tracer at
    /// `entry`. Errors: `ENOMEM` if there is no room.
    pub fn push(&mut self, function: F, entry: Range, old: Range, new: Range) -> Result {
        let order = self.functions;
        self.functions = order.saturating_add(1);
        for (table, own) in [(&mut self.old, old), (&mut self.new, new)] {
            table.push(function, order, own)?;
            // The range of the original covers its entry already.
            if own.start != entry.start {
                table.push(function, order, entry)?;
            }
        }
        Ok(())
    }

    /// Sorts the functions. Must be called after the last push and before [`Self::find`].
    pub fn finish(&mut self) {
        self.old.sort();
        self.new.sort();
    }

    /// Returns the first function of the patch that keeps a task with the stack `entries` (return
    /// addresses) from moving to `target`. `None` if the task is free to move.
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
        // This runs for each word on thousands of stacks. Nearly all words are ruled out here.
        let all = table.all;
        let near = |word: &&usize| all.contains(**word);
        words
            .iter()
            .filter(near)
            .any(|&word| table.find(word).is_some())
    }

    /// Returns the ranges that a task must leave to move to `target`.
    fn table(&self, target: State) -> &Table<F> {
        match target {
            State::Unpatched => &self.new,
            State::Patched | State::Idle => &self.old,
        }
    }
}
