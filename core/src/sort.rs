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

#[cfg(test)]
#[kernel::macros::kunit_tests(livepatch_sort)]
mod tests {
    use super::*;

    /// Whether the sort does the same as the library's.
    fn sorts<const N: usize>(items: [u32; N]) -> bool {
        let (mut own, mut expected) = (items, items);
        sort_by_key(&mut own, |&item| item);
        expected.sort_unstable();
        own == expected
    }

    /// Whether the sort sorts all sequences of `N` of the keys 0 to 3.
    fn sorts_all<const N: usize>() -> bool {
        (0..4u32.pow(N as u32)).all(|number| {
            let mut left = number;
            sorts([(); N].map(|()| {
                let key = left % 4;
                left /= 4;
                key
            }))
        })
    }

    #[test]
    fn every_short_sequence() {
        assert!(sorts_all::<0>());
        assert!(sorts_all::<1>());
        assert!(sorts_all::<2>());
        assert!(sorts_all::<3>());
        assert!(sorts_all::<4>());
        assert!(sorts_all::<5>());
        assert!(sorts_all::<6>());
    }

    #[test]
    fn long_sequences() {
        let mut number = 0u32;
        assert!(sorts([(); 100].map(|()| {
            number += 1;
            number
        })));
        assert!(sorts([(); 100].map(|()| {
            number -= 1;
            number
        })));
        for _ in 0..100 {
            assert!(sorts([(); 100].map(|()| {
                // A linear congruential generator: every run sorts the same.
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                number >> 16
            })));
        }
    }

    #[test]
    fn by_their_key_alone() {
        let mut items = [(3, 'c'), (1, 'a'), (2, 'b')];
        sort_by_key(&mut items, |item| core::cmp::Reverse(item.0));
        assert_eq!(items, [(3, 'c'), (2, 'b'), (1, 'a')]);
    }
}
