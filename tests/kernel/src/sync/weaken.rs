// SPDX-License-Identifier: GPL-2.0

//! Taking an ordering away, to show what it is there for.
//!
//! Every ordering that is more than relaxed asks here, naming the place in the source that asked for it.
//! With `LIVEPATCH_WEAKEN=FILE:LINE`, the one of that place is not given. With `LIVEPATCH_ORDERINGS=FILE`
//! the places that a run comes by are appended to that file, each once: `FILE:LINE KIND`.

use std::collections::HashSet;
use std::io::Write;
use std::panic::Location;
use std::sync::{LazyLock, Mutex};

/// The place whose ordering is not given.
static WEAKENED: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("LIVEPATCH_WEAKEN").ok());

/// Where the list goes, and what is in it.
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

/// Whether the ordering of this `kind` at `place` is to be left out.
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
