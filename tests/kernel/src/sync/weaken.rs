// SPDX-License-Identifier: GPL-2.0

//! Leaves out a single ordering, to show what that ordering is for.
//!
//! Every ordering stronger than relaxed asks here and names its place in the source.
//! `LIVEPATCH_WEAKEN=FILE:LINE` leaves out the ordering at that place. `LIVEPATCH_ORDERINGS=FILE`
//! appends each place that a run passes to that file, once, as `FILE:LINE KIND`.

use std::collections::HashSet;
use std::io::Write;
use std::panic::Location;
use std::sync::{LazyLock, Mutex};

/// The place whose ordering is left out.
static WEAKENED: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("LIVEPATCH_WEAKEN").ok());

/// The file for the list of places, and the places that are in it already.
static LIST: LazyLock<Option<Mutex<List>>> = LazyLock::new(|| {
    let path = std::env::var_os("LIVEPATCH_ORDERINGS")?;
    let file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path);
    Some(Mutex::new(List {
        file: file.expect("a file for the orderings"),
        listed: HashSet::new(),
    }))
});

struct List {
    file: std::fs::File,
    listed: HashSet<String>,
}

/// Whether the ordering of this `kind` at `place` is left out.
pub fn is_weakened(place: &Location<'_>, kind: &str) -> bool {
    if let Some(list) = &*LIST {
        let List { file, listed } = &mut *list.lock().expect("no test panics in here");
        let line = format!("{}:{} {kind}", place.file(), place.line());
        if !listed.contains(&line) {
            writeln!(file, "{line}").expect("the list is written");
            listed.insert(line);
        }
    }
    WEAKENED.as_ref().is_some_and(|weakened| {
        weakened
            .strip_prefix(place.file())
            .and_then(|line| line.strip_prefix(':')?.parse().ok())
            == Some(place.line())
    })
}
