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
    symbol::{
        Name,
        Text, //
    },
    task::{
        State,
        Task, //
    },
    transition::{
        Scheduler,
        Words, //
    }, //
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

/// A range, and the number of the function that it belongs to.
struct Region {
    range: Range,
    function: usize,
}

/// The ranges of one direction, sorted by address.
struct Table {
    regions: KVec<Region>,
    /// The span of all ranges, from the lowest start to the highest end.
    all: Range,
}

impl Table {
    fn with_capacity(functions: usize) -> Result<Self> {
        Ok(Self {
            regions: KVec::with_capacity(functions, GFP_KERNEL)?,
            all: Range { start: 0, size: 0 },
        })
    }

    fn clear(&mut self) {
        self.regions.clear();
        self.all.size = 0;
    }

    fn find(&self, address: usize) -> Option<&Region> {
        if !self.all.contains(address) {
            return None;
        }
        let after = self
            .regions
            .partition_point(|region| region.range.start <= address);
        let before = self.regions.get(..after)?;
        // Of the ranges with one start, the largest is sorted last. Of aliases, the first in the
        // patch is.
        let region = before.last()?;
        region.range.contains(address).then_some(region)
    }

    fn sort(&mut self) {
        sort_by_key(&mut self.regions, |region| {
            let Range { start, size } = region.range;
            (start, size, core::cmp::Reverse(region.function))
        });
        let start = self.regions.first().map_or(0, |region| region.range.start);
        let sizes = self.regions.iter().map(|region| {
            let before = region.range.start.wrapping_sub(start);
            before.saturating_add(region.range.size)
        });
        self.all = Range {
            start,
            size: sizes.max().unwrap_or(0),
        };
    }

    fn push(&mut self, function: usize, range: Range) -> Result {
        let region = Region { range, function };
        let pushed = self.regions.push_within_capacity(region);
        pushed.map_err(|_| ENOMEM)
    }
}

/// The functions that a transition changes, sorted for the search in either direction.
///
/// The functions are numbered in the order of the patch.
pub struct StackCheck {
    /// The code that runs before the change. Tasks must leave it when patching.
    old: Table,
    /// The code that runs after the change. Tasks must leave it when unpatching.
    new: Table,
    /// The functions' names, for messages.
    names: KVec<Name>,
}

impl StackCheck {
    /// Creates an empty stack check with room for the functions with these names. It never grows.
    /// Errors: `ENOMEM`.
    pub fn new<'a>(names: impl Iterator<Item = &'a Name>) -> Result<Self> {
        let mut copies = KVec::new();
        for name in names {
            copies.push(name.duplicate()?, GFP_KERNEL)?;
        }
        // Each function has the range of its code and the range of its entry.
        let ranges = copies.len().saturating_mul(2);
        Ok(Self {
            old: Table::with_capacity(ranges)?,
            new: Table::with_capacity(ranges)?,
            names: copies,
        })
    }

    /// Removes all functions and keeps the memory.
    pub fn clear(&mut self) {
        self.old.clear();
        self.new.clear();
    }

    /// Adds the function with that number, which changes from `old` to `new` and whose original
    /// calls the tracer at `entry`. Errors: `ENOMEM` if there is no room.
    pub fn push(&mut self, function: usize, entry: Range, old: Range, new: Range) -> Result {
        for (table, mut own) in [(&mut self.old, old), (&mut self.new, new)] {
            if own.start == entry.start {
                // A function that is little more than its call of the tracer may end before the
                // return address of that call.
                own.size = own.size.max(entry.size);
            } else {
                table.push(function, entry)?;
            }
            table.push(function, own)?;
        }
        Ok(())
    }

    /// Removes the functions with these numbers. The others stay sorted.
    pub fn remove(&mut self, functions: core::ops::Range<usize>) {
        for table in [&mut self.old, &mut self.new] {
            table
                .regions
                .retain(|region| !functions.contains(&region.function));
        }
    }

    /// Sorts the functions. Must be called after the last push and before [`Self::find`].
    pub fn finish(&mut self) {
        self.old.sort();
        self.new.sort();
    }

    /// Returns the number of the first function of the patch that keeps a task with the stack
    /// `entries` (return addresses) from moving to `target`. `None` if the task is free to move.
    pub fn find(&self, target: State, entries: &[usize]) -> Option<usize> {
        let table = self.table(target);
        entries
            .iter()
            .filter_map(|&address| table.find(address))
            .map(|region| region.function)
            .min()
    }

    /// Returns the name of the function with that number.
    pub fn name(&self, function: usize) -> Text<'_> {
        Text(self.names.get(function).map_or(b"?", Name::as_bytes))
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
    fn table(&self, target: State) -> &Table {
        match target {
            State::Unpatched => &self.new,
            State::Patched | State::Idle => &self.old,
        }
    }
}

/// A stack check in its own allocation.
pub type Check = KBox<StackCheck>;

/// Where the code that moves tasks finds the stack check, without the core's lock.
pub trait Checks: Scheduler + Words {
    /// A stack check that was taken back and may still be in use.
    type Retired;

    /// Publishes `check` in place of the current stack check, which is returned.
    fn publish_check(&self, check: Option<Check>) -> Option<Self::Retired>;
    /// Returns a stack check that is no longer in use. `None`, with a warning, if nothing has
    /// waited since the check was taken back: then the check's memory is lost.
    fn reclaim_check(&self, check: Self::Retired, quiesced: &Self::Quiesced) -> Option<Check>;
    /// Calls `job` with the stack check, if there is one.
    fn with_check(
        &self,
        off: &<Self::Task as Task>::PreemptionOff,
        job: &mut dyn FnMut(Option<&StackCheck>),
    );
}

#[cfg(test)]
#[kunit_tests(livepatch_stack)]
mod tests {
    use super::*;

    const BASE: usize = 0x1000;
    const DIRECTIONS: [State; 2] = [State::Patched, State::Unpatched];

    const fn range(start: usize, size: usize) -> Range {
        Range { start, size }
    }

    /// Returns a stack check with room for functions with these names.
    fn empty<const N: usize>(names: [&[u8]; N]) -> Result<StackCheck> {
        let mut owned = KVec::with_capacity(N, GFP_KERNEL)?;
        for name in names {
            owned.push(Name::new(name)?, GFP_KERNEL)?;
        }
        StackCheck::new(owned.iter())
    }

    #[test]
    fn nobody_is_inside_of_nothing() -> Result {
        let mut check = empty([])?;
        check.finish();
        for target in DIRECTIONS {
            assert_eq!(check.find(target, &[0, BASE, usize::MAX]), None);
            assert!(!check.points_into(target, &[0, BASE, usize::MAX]));
        }
        Ok(())
    }

    #[test]
    fn each_direction_has_its_own_code() -> Result {
        let mut check = empty([b"function"])?;
        let (old, new) = (range(BASE, 32), range(2 * BASE, 16));
        check.push(0, range(BASE, 9), old, new)?;
        check.finish();
        for (address, patching, unpatching) in [
            (BASE - 1, None, None),
            // The entry of the original is in both.
            (BASE, Some(0), Some(0)),
            (BASE + 8, Some(0), Some(0)),
            (BASE + 9, Some(0), None),
            (BASE + 31, Some(0), None),
            (BASE + 32, None, None),
            (2 * BASE - 1, None, None),
            (2 * BASE, None, Some(0)),
            (2 * BASE + 15, None, Some(0)),
            (2 * BASE + 16, None, None),
        ] {
            for (target, expected) in [(State::Patched, patching), (State::Unpatched, unpatching)] {
                assert_eq!(check.find(target, &[0, address]), expected);
                assert_eq!(check.points_into(target, &[address, 0]), expected.is_some());
            }
        }
        Ok(())
    }

    #[test]
    fn the_first_function_of_the_patch_is_named() -> Result {
        let mut check = empty([b"last", b"first", b"alias"])?;
        for (function, start) in [(0, 3 * BASE), (1, BASE), (2, BASE)] {
            let old = range(start, 16);
            check.push(function, range(start, 9), old, range(start + BASE / 2, 16))?;
        }
        check.finish();
        for target in DIRECTIONS {
            assert_eq!(check.find(target, &[BASE]), Some(1));
            assert_eq!(check.find(target, &[BASE, 3 * BASE]), Some(0));
        }
        check.remove(0..2);
        for target in DIRECTIONS {
            assert_eq!(check.find(target, &[BASE]), Some(2));
            assert_eq!(check.find(target, &[3 * BASE]), None);
        }
        check.clear();
        assert_eq!(check.find(State::Patched, &[BASE]), None);
        Ok(())
    }

    #[test]
    fn the_end_of_memory() -> Result {
        let mut check = empty([b"function"])?;
        let last = range(usize::MAX - 7, 8);
        check.push(0, last, last, range(0, 1))?;
        check.finish();
        assert_eq!(check.find(State::Patched, &[usize::MAX]), Some(0));
        assert_eq!(check.find(State::Patched, &[usize::MAX - 8]), None);
        assert_eq!(check.find(State::Unpatched, &[0]), Some(0));
        assert_eq!(check.find(State::Patched, &[]), None);
        Ok(())
    }

    #[test]
    fn behind_the_end_of_a_short_function() -> Result {
        let mut check = empty([b"function"])?;
        let new = range(2 * BASE, 4);
        check.push(0, range(BASE, 9), range(BASE, 4), new)?;
        check.finish();
        let return_address = BASE + 8;
        for target in DIRECTIONS {
            assert_eq!(check.find(target, &[return_address]), Some(0));
            assert!(check.points_into(target, &[return_address]));
            assert_eq!(check.find(target, &[return_address + 1]), None);
        }
        // The replacement is as long as it is.
        assert_eq!(check.find(State::Unpatched, &[new.start + 3]), Some(0));
        assert_eq!(check.find(State::Unpatched, &[new.start + 4]), None);
        Ok(())
    }

    #[test]
    fn functions_have_names() -> Result {
        let check = empty([b"zero", b"one"])?;
        assert_eq!(check.name(0).0, b"zero");
        assert_eq!(check.name(1).0, b"one");
        assert_eq!(check.name(2).0, b"?");
        Ok(())
    }
}
