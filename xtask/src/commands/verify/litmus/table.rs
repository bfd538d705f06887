// SPDX-License-Identifier: GPL-2.0
//! The tables of the orderings in `docs/verification.rst`, and whether they agree with the source.

use crate::commands::verify::litmus::orderings::{Key, Orderings, RELAXED};
use crate::commands::verify::litmus::test::Test;
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The page with the tables.
pub const PAGE: &str = "docs/verification.rst";

/// An ordering in one of the tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// How often the function has it.
    pub count: usize,
    /// The tests that show that it is needed, each with the verdict on its twin. Empty if no test
    /// can.
    pub tests: BTreeMap<String, String>,
}

/// The rows of both tables.
pub struct Table(pub BTreeMap<Key, Row>);

impl Table {
    /// Reads the tables of a checkout. Errors: a row that can't be read, or that is there twice.
    pub fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(PAGE)).with_context(|| PAGE.to_owned())?;
        Self::parse(&text).with_context(|| PAGE.to_owned())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table = Self(BTreeMap::new());
        for [place, ordering, tests, twins] in cells(text, "Twin")? {
            let names: Vec<&str> = tests.split(", ").collect();
            let verdicts: Vec<&str> = twins.split(", ").collect();
            let verdict = |index: usize| match verdicts.as_slice() {
                [same] => Some(*same),
                each => each.get(index).copied(),
            };
            let tests = names.iter().enumerate().map(|(index, name)| {
                let verdict = verdict(index).with_context(|| {
                    format!("{place}: {ordering}: give one verdict, or one for each test")
                })?;
                Ok((name.to_string(), verdict.to_owned()))
            });
            table.add(&place, &ordering, tests.collect::<Result<_>>()?)?;
        }
        for [place, ordering, _] in cells(text, "Why no test")? {
            table.add(&place, &ordering, BTreeMap::new())?;
        }
        Ok(table)
    }

    fn add(&mut self, place: &str, kind: &str, tests: BTreeMap<String, String>) -> Result<()> {
        let times = kind.strip_suffix(" times");
        let (kind, count) = match times.and_then(|kind| kind.rsplit_once(", ")) {
            Some((kind, count)) => {
                let number = count.parse();
                let number =
                    number.with_context(|| format!("{place}: `{count}` is no number of times"))?;
                (kind, number)
            }
            None => (kind, 1),
        };
        let before = self
            .0
            .insert((place.to_owned(), kind.to_owned()), Row { count, tests });
        match before {
            None => Ok(()),
            Some(_) => anyhow::bail!("{place}: {kind}: there are two rows for it"),
        }
    }

    /// Compares the tables, the source and the tests. Returns what does not agree.
    pub fn disagreements(&self, source: &Orderings, tests: &[Test]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut shown: BTreeMap<Key, BTreeSet<&str>> = BTreeMap::new();
        for test in tests {
            for key in test.orderings() {
                if !source.places.contains_key(&key) {
                    let (place, kind) = &key;
                    wrong.push(format!(
                        "test {}: {place}: {kind}: not in the source",
                        test.name
                    ));
                }
                shown.entry(key).or_default().insert(&test.name);
            }
            let citations = test.accesses.iter().flat_map(|access| &access.citations);
            for citation in citations.filter(|citation| citation.place.ends_with("()")) {
                if !source.functions.contains(&citation.place) {
                    let (test, place) = (&test.name, &citation.place);
                    wrong.push(format!(
                        "test {test}: {place}: the source has no such function"
                    ));
                }
            }
        }
        for (key, at) in source.places.iter().filter(|(key, _)| key.1 != RELAXED) {
            let (place, kind) = key;
            let names = shown.remove(key).unwrap_or_default();
            let Some(row) = self.0.get(key) else {
                wrong.push(format!("{place}: {kind} ({}): no row", at.join(", ")));
                continue;
            };
            if row.count != at.len() {
                let (said, found) = (row.count, at.join(", "));
                wrong.push(format!(
                    "{place}: {kind}: {said} in its row, but found at {found}"
                ));
            }
            let said: BTreeSet<&str> = row.tests.keys().map(String::as_str).collect();
            for name in names.difference(&said) {
                wrong.push(format!("{place}: {kind}: its row lacks the test {name}"));
            }
            for name in said.difference(&names) {
                wrong.push(format!(
                    "{place}: {kind}: no line of a test {name} stands for it"
                ));
            }
        }
        for (place, kind) in self.0.keys() {
            if !source.places.contains_key(&(place.clone(), kind.clone())) {
                wrong.push(format!(
                    "{place}: {kind}: has a row, but is not in the source"
                ));
            }
        }
        wrong
    }
}

/// Returns the rows of the simple table whose last column has this title. A line without a first
/// cell continues the row.
fn cells<const N: usize>(text: &str, last: &str) -> Result<Vec<[String; N]>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_border = |line: &str| line.starts_with("==") && line.chars().all(|c| "= ".contains(c));
    let head = lines
        .iter()
        .position(|line| line.starts_with("Place ") && line.ends_with(&format!("  {last}")))
        .with_context(|| format!("no table whose columns are `Place` to `{last}`"))?;
    let border = lines.get(head + 1).copied().unwrap_or_default();
    let starts: Vec<usize> = border
        .char_indices()
        .filter(|&(index, c)| c == '=' && (index == 0 || border[..index].ends_with(' ')))
        .map(|(index, _)| index)
        .collect();
    let body = lines
        .iter()
        .skip(head + 2)
        .take_while(|line| !is_border(line));
    let mut rows: Vec<[String; N]> = Vec::new();
    for line in body {
        let mut row = [const { String::new() }; N];
        for (index, cell) in row.iter_mut().enumerate() {
            let start = starts.get(index).copied().unwrap_or(line.len());
            let end = starts.get(index + 1).copied().unwrap_or(line.len());
            let text = line.get(start..end.min(line.len())).unwrap_or_default();
            *cell = text.replace("``", "").trim().to_owned();
        }
        match rows.last_mut().filter(|_| row[0].is_empty()) {
            None => rows.push(row),
            Some(before) => {
                for (before, more) in before
                    .iter_mut()
                    .zip(row)
                    .filter(|(_, more)| !more.is_empty())
                {
                    before.push(' ');
                    before.push_str(&more);
                }
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::context::Context;

    const TABLES: &str = "
===========  ==============  ===========  =========
Place        Ordering        Test         Twin
===========  ==============  ===========  =========
``f()``      acquire         ``x``,       Sometimes,
                             ``y``        Data race
``T::g()``   wait, 2 times   ``x``        Sometimes
===========  ==============  ===========  =========

========  ===============  ===========
Place     Ordering         Why no test
========  ===============  ===========
``h()``   ``smp_mb``       Words that
                           go on
========  ===============  ===========
";

    fn key(place: &str, kind: &str) -> Key {
        (place.to_owned(), kind.to_owned())
    }

    #[test]
    fn rows_have_places_orderings_tests_and_verdicts() {
        let table = Table::parse(TABLES).unwrap().0;
        assert_eq!(table.len(), 3);
        let row = &table[&key("f()", "acquire")];
        assert_eq!(row.count, 1);
        assert_eq!(row.tests["x"], "Sometimes");
        assert_eq!(row.tests["y"], "Data race");
        assert_eq!(table[&key("T::g()", "wait")].count, 2);
        assert_eq!(table[&key("h()", "smp_mb")].tests.len(), 0);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told() {
        for (from, to, why) in [
            (
                "``T::g()``   wait, 2 times ",
                "``f()``      acquire       ",
                "two rows",
            ),
            ("wait, 2 times", "wait, 2a times", "no number of times"),
            ("Why no test", "Why", "Why no test"),
        ] {
            let text = TABLES.replace(from, to);
            assert_ne!(text, TABLES);
            let error = Table::parse(&text).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| error.contains(why)),
                "{error:?}"
            );
        }
    }

    /// What the checkout has, for tests that change it.
    fn checkout() -> (Table, Orderings, Vec<Test>) {
        let (_dir, cx) = Context::for_test();
        let source = Orderings::of_checkout(&cx).unwrap();
        let tests = Test::all(&cx.root).unwrap();
        (Table::read(&cx.root).unwrap(), source, tests)
    }

    #[test]
    fn each_ordering_of_this_checkout_has_its_row() {
        let (table, source, tests) = checkout();
        let wrong = table.disagreements(&source, &tests);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(table.0.values().any(|row| row.tests.is_empty()));
        let shown: BTreeSet<&str> = table
            .0
            .values()
            .flat_map(|row| row.tests.keys().map(String::as_str))
            .collect();
        let names: BTreeSet<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(shown, names, "each test shows an ordering");
    }

    #[test]
    fn what_is_new_or_gone_is_told() {
        let (mut table, mut source, tests) = checkout();
        let gone = key("Site::publish()", "release");
        let at = source.places.remove(&gone).unwrap();
        source
            .places
            .insert(key("Site::publish()", "full barrier"), at);
        let twice = key("Moves::made()", "acquire");
        source.places.get_mut(&twice).unwrap().push("x.rs:1".into());
        source.functions.remove("look()");
        let row = table
            .0
            .get_mut(&key("Moves::count()", "full barrier"))
            .unwrap();
        row.tests.remove("moves");
        row.tests.insert("none".into(), "Sometimes".into());
        let wrong = table.disagreements(&source, &tests);
        for part in [
            "Site::publish(): full barrier (core/src/site.rs:",
            "Site::publish(): release: has a row, but is not in the source",
            "test site: Site::publish(): release: not in the source",
            "Moves::made(): acquire: 1 in its row, but found at",
            "look(): the source has no such function",
            "Moves::count(): full barrier: its row lacks the test moves",
            "Moves::count(): full barrier: no line of a test none stands for it",
        ] {
            assert!(
                wrong.iter().any(|line| line.contains(part)),
                "{part} in {wrong:#?}"
            );
        }
    }
}
