// SPDX-License-Identifier: GPL-2.0

//! A site alone: readers against the one publisher.

use crate::explore;
use livepatch_core::site::{
    Site,
    Target::{Original, Replacement},
    View,
};
use loom::sync::Arc;
use loom::thread;

/// Where the replacements begin.
const FIRST: usize = 0x1000;

/// A view all of whose parts tell its number. One of four is settled.
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

/// Which one it is; torn views are none.
fn number(view: View) -> usize {
    let (View::Settled(newest) | View::InTransition { newest, .. }) = view;
    let Replacement(newest) = newest else {
        panic!("never published: {view:?}");
    };
    let n = (newest - FIRST) / 2;
    assert_eq!(view, nth(n), "torn");
    n
}

/// A site that shows view `first`, all of whose atomics exist. Nothing in its slots is of a view.
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

/// A reader that looks `looks` times sees whole views, and none that is older than one it saw.
fn read(site: &Site, looks: usize) -> usize {
    (0..looks).fold(0, |last, _| {
        let now = number(site.view());
        assert!(now >= last, "back in time");
        now
    })
}

/// So many readers, each of which looks so often, against so many publishes, which begin behind the
/// `first` view.
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
        // Who comes after the publisher sees its last view.
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

/// The second one is shown where the reader may still be.
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
