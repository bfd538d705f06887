// SPDX-License-Identifier: GPL-2.0
//! A list of orderings.

use std::collections::{BTreeMap, BTreeSet};

/// The kind of an access that orders nothing by itself. It needs no row in a table.
pub const RELAXED: &str = "relaxed";

/// What tells orderings apart: the function, and the kind of the ordering.
pub type Key = (String, String);

/// The orderings of some source.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orderings {
    /// Where each ordering is, as `file:line`.
    pub places: BTreeMap<Key, Vec<String>>,
    /// The functions of the source, with or without orderings.
    pub functions: BTreeSet<String>,
}

impl Orderings {
    /// Adds an ordering of a function, and where it is.
    pub fn found(&mut self, function: &str, kind: &str, at: String) {
        let key = (format!("{function}()"), kind.to_owned());
        self.places.entry(key).or_default().push(at);
    }

    /// Adds a function.
    pub fn function(&mut self, name: &str) {
        self.functions.insert(format!("{name}()"));
    }
}
