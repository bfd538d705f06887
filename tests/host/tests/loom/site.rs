// SPDX-License-Identifier: GPL-2.0

//! A site alone: readers against its one publisher.

use crate::explore;
use livepatch_core::site::{
    Site,
    Target::{Original, Replacement},
    View,
};
use loom::sync::Arc;
use loom::thread;

/// The address of the first replacement.
const FIRST: usize = 0x1000;

/// Returns the `n`-th view. Its number can be told from each of its parts. Every fourth view is
/// settled.
fn nth(n: usize) -> View {
    let newest = Replacement(FIRST + 2 * n);
    if n % 4 == 0 {
        return View::Settled(newest);
    }
    View::InTransition {
        newest,
        below: Replacement(FIRST + 2 * n + 1),
    }
}

/// Returns the number of a view. Panics on a torn one.
fn number(view: View) -> usize {
    let (View::Settled(newest) | View::InTransition { newest, .. }) = view;
    let Replacement(newest) = newest else {
        panic!("never published: {view:?}");
    };
    let n = (newest - FIRST) / 2;
    assert_eq!(view, nth(n), "torn");
    n
}

/// Creates a site that shows view `first`. All its atomics exist, and its slots hold nothing of an
/// earlier numbered view.
fn site(first: usize) -> Arc<Site> {
    let site = Site::new(nth(first));
    for _ in 0..2 {
        site.publish(View::InTransition {
            newest: Original,
            below: Original,
        });
        let _ = site.view();
    }
    site.publish(nth(first));
    Arc::new(site)
}

/// Reads the site `looks` times. Each view must be whole, and none older than the one before.
fn read(site: &Site, looks: usize) -> usize {
    (0..looks).fold(0, |last, _| {
        let now = number(site.view());
        assert!(now >= last, "back in time");
        now
    })
}

/// Explores `readers` readers, each of which looks `looks` times, against `publishes` publishes
/// that follow the view `first`.
fn model(first: usize, readers: usize, publishes: usize, looks: usize, preemptions: usize) {
    let name = format!("site, {readers} readers, {publishes} publishes, {looks} looks");
    explore(&name, preemptions, move || {
        let site = site(first);
        let threads: Vec<_> = (0..readers)
            .map(|_| {
                let site = site.clone();
                thread::spawn(move || read(&site, looks))
            })
            .collect();
        for n in first + 1..=first + publishes {
            site.publish(nth(n));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // A reader that is ordered after the publisher sees its last view.
        assert_eq!(number(site.view()), first + publishes);
    });
}

#[test]
fn one_reader_against_one_publish() {
    model(0, 1, 1, 1, 4);
}

#[test]
fn one_reader_against_the_end_of_a_transition() {
    model(3, 1, 1, 1, 4);
}

/// The second publish reuses the slot that the reader may still be in.
#[test]
fn one_reader_against_two_publishes() {
    model(1, 1, 2, 1, 3);
}

#[test]
fn one_reader_against_two_transitions() {
    model(2, 1, 3, 1, 2);
}

#[test]
fn a_reader_never_goes_back() {
    model(0, 1, 1, 2, 3);
}

#[test]
fn two_readers() {
    model(0, 2, 1, 1, 1);
}
