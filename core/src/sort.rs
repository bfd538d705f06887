// SPDX-License-Identifier: GPL-2.0

//! Sorting with little code.
//!
//! The library's sort is quicker but takes 5 KiB of code for each sorted type. The core sorts the
//! functions of a patch, some thousands of them, each time that a patch comes or goes.
//!
//! C counterpart: `lib/sort.c`, which is a heapsort too.

/// Items to be sorted. With this trait the sort is compiled once for all types of items.
trait Items {
    /// Whether the key of the item at `first` is less than the key of the item at `second`.
    fn is_less(&self, first: usize, second: usize) -> bool;
    /// Swaps two items. `second` is behind `first`.
    fn swap(&mut self, first: usize, second: usize);
}

struct Keyed<'a, T, F> {
    items: &'a mut [T],
    key: F,
}

impl<T, K: Ord, F: Fn(&T) -> K> Items for Keyed<'_, T, F> {
    fn is_less(&self, first: usize, second: usize) -> bool {
        match (self.items.get(first), self.items.get(second)) {
            (Some(first), Some(second)) => (self.key)(first) < (self.key)(second),
            _ => false,
        }
    }

    /// Swaps two items. Unlike the library's `swap`, this can't panic.
    fn swap(&mut self, first: usize, second: usize) {
        if let Some((before, behind)) = self.items.split_at_mut_checked(second) {
            if let (Some(first), Some(second)) = (before.get_mut(first), behind.first_mut()) {
                core::mem::swap(first, second);
            }
        }
    }
}

/// Sorts `items` by their `key`, in place. The sort is not stable.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let count = items.len();
    sort(&mut Keyed { items, key }, count);
}

fn sort(items: &mut dyn Items, count: usize) {
    for root in (0..count / 2).rev() {
        sift_down(items, root, count);
    }
    for end in (1..count).rev() {
        items.swap(0, end);
        sift_down(items, 0, end);
    }
}

/// Restores the max-heap of the first `end` items, in which only the item at `root` may be in the
/// wrong place.
fn sift_down(items: &mut dyn Items, mut root: usize, end: usize) {
    loop {
        let child = root.saturating_mul(2).saturating_add(1);
        let mut largest = root;
        for index in [child, child.saturating_add(1)] {
            if index < end && items.is_less(largest, index) {
                largest = index;
            }
        }
        if largest == root {
            return;
        }
        items.swap(root, largest);
        root = largest;
    }
}
