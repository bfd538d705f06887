// SPDX-License-Identifier: GPL-2.0

//! Sorting, in little code.
//!
//! That of the library is quicker, and takes 5 KiB of code for each type that is sorted. What is sorted
//! here are some thousand functions of a patch, each time that one comes or goes.
//!
//! C counterpart: `lib/sort.c`, a heapsort too.

/// Sorts `items` by their `key`, in place. Items with the same key come in any order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, &key);
    }
    for end in (1..items.len()).rev() {
        swap(items, 0, end);
        sift_down(items.get_mut(..end).unwrap_or_default(), 0, &key);
    }
}

/// Makes a heap, the largest first, of one of which only `root` is in the wrong place.
fn sift_down<T, K: Ord>(heap: &mut [T], mut root: usize, key: &impl Fn(&T) -> K) {
    loop {
        let child = root.saturating_mul(2).saturating_add(1);
        let mut largest = root;
        for index in [child, child.saturating_add(1)] {
            if let (Some(item), Some(other)) = (heap.get(largest), heap.get(index)) {
                if key(item) < key(other) {
                    largest = index;
                }
            }
        }
        if largest == root {
            return;
        }
        swap(heap, root, largest);
        root = largest;
    }
}

/// Swaps two items, the second behind the first. Unlike the library's it can't panic.
fn swap<T>(items: &mut [T], first: usize, second: usize) {
    if let Some((before, behind)) = items.split_at_mut_checked(second) {
        if let (Some(first), Some(second)) = (before.get_mut(first), behind.first_mut()) {
            core::mem::swap(first, second);
        }
    }
}
