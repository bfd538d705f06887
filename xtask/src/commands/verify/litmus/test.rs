// SPDX-License-Identifier: GPL-2.0
//! A litmus test, what its lines stand for, and its twins.
//!
//! A comment behind an access says what the access stands for: `/* Site::publish(): release */`. It
//! names a function of the source, and then an ordering of that function or anything else in words.
//! Several are separated by a semicolon, or by lines of their own in front of the access.
//!
//! A twin is the test with one line weakened that stands for an ordering.

use crate::commands::verify::litmus::orderings::{Key, RELAXED};
use anyhow::{bail, ensure, Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests, by their directory in the checkout.
pub const TESTS: &str = "Documentation/litmus-tests/livepatch";

/// Kinds of orderings in words. Other kinds are names of C, which have an underscore.
const KINDS: &[&str] = &[
    "acquire",
    "full barrier",
    "pin",
    "preemption off",
    "read barrier",
    "read lock of RCU",
    RELAXED,
    "release",
    "volatile read",
    "wait",
    "write barrier",
];

/// What a line of a test stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// The function with parentheses, or what else does it.
    pub place: String,
    /// The ordering, or words.
    pub what: String,
}

impl Citation {
    fn parse(text: &str) -> Option<Self> {
        let (place, what) = text.trim().rsplit_once(": ")?;
        Some(Self {
            place: place.to_owned(),
            what: what.to_owned(),
        })
    }

    /// Returns the ordering, if it is one.
    pub fn ordering(&self) -> Option<Key> {
        let is_name = self.what.contains('_') && !self.what.contains(' ');
        let is_kind = is_name || KINDS.contains(&self.what.as_str());
        is_kind.then(|| (self.place.clone(), self.what.clone()))
    }
}

/// A line of a test that stands for something.
#[derive(Debug)]
pub struct Access {
    /// The index of the line.
    line: usize,
    /// What it stands for.
    pub citations: Vec<Citation>,
}

/// A test.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    lines: Vec<String>,
    /// The accesses that stand for something.
    pub accesses: Vec<Access>,
}

/// A test with one line weakened.
#[derive(Debug)]
pub struct Twin {
    /// Its name.
    pub name: String,
    /// The orderings that are weakened.
    pub orderings: Vec<Key>,
    /// The text.
    pub text: String,
}

impl Test {
    /// Reads the tests of a checkout.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let dir = root.join(TESTS);
        paths(&dir)?
            .iter()
            .map(|path| {
                let text = fs::read_to_string(path)?;
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                Self::parse(&stem, &text).with_context(|| path.display().to_string())
            })
            .collect()
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        ensure!(
            text.lines().next() == Some(&format!("C {name}")),
            "the first line has to be `C {name}`, as the file is called"
        );
        ensure!(
            text.contains("\n * Result: Never\n"),
            "the comment has to say `Result: Never`"
        );
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (mut accesses, mut citations) = (Vec::new(), Vec::new());
        for (line, text) in lines.iter().enumerate() {
            let (code, comment) = match text.split_once("/*") {
                Some((code, comment)) => (code, Some(comment)),
                None => (text.as_str(), None),
            };
            if let Some(comment) = comment {
                let comment = comment.trim_end().strip_suffix("*/");
                let comment = comment.with_context(|| format!("line {}: no `*/`", line + 1))?;
                for part in comment.split(';') {
                    let citation = Citation::parse(part).with_context(|| {
                        format!("line {}: `{part}` is not like `function(): what`", line + 1)
                    })?;
                    citations.push(citation);
                }
            }
            if code.trim().is_empty() {
                ensure!(
                    comment.is_some() || citations.is_empty(),
                    "line {}: the comment before it needs its access here",
                    line + 1
                );
            } else if !citations.is_empty() {
                let citations = std::mem::take(&mut citations);
                accesses.push(Access { line, citations });
            }
        }
        Ok(Self {
            name: name.to_owned(),
            lines,
            accesses,
        })
    }

    /// Returns the orderings that its lines stand for, relaxed ones too.
    pub fn orderings(&self) -> BTreeSet<Key> {
        let citations = self.accesses.iter().flat_map(|access| &access.citations);
        citations.filter_map(Citation::ordering).collect()
    }

    /// Returns the twins, one for each line with an ordering that is more than relaxed.
    pub fn twins(&self) -> Result<Vec<Twin>> {
        let mut twins = Vec::new();
        for access in &self.accesses {
            let orderings = access.citations.iter().filter_map(Citation::ordering);
            let orderings: Vec<Key> = orderings.filter(|key| key.1 != RELAXED).collect();
            if orderings.is_empty() {
                continue;
            }
            let name = format!("{}+{}", self.name, twins.len() + 1);
            let mut lines = self.lines.clone();
            lines[0] = format!("C {name}");
            weaken(&mut lines, access.line)
                .with_context(|| format!("{}: line {}", self.name, access.line + 1))?;
            twins.push(Twin {
                name,
                orderings,
                text: lines.join("\n") + "\n",
            });
        }
        Ok(twins)
    }
}

/// Returns the tests in a directory, by name.
fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("no tests in {}", dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|found| found == "litmus"));
    paths.sort();
    Ok(paths)
}

/// What each operation becomes when its ordering is left out.
const WEAKER: &[(&str, &str)] = &[
    ("smp_store_release(", "WRITE_ONCE(*"),
    ("smp_load_acquire(", "READ_ONCE(*"),
    ("rcu_assign_pointer(", "WRITE_ONCE("),
    ("atomic_set_release(", "atomic_set("),
    ("atomic_read_acquire(", "atomic_read("),
    ("atomic_cmpxchg_acquire(", "atomic_cmpxchg_relaxed("),
    ("atomic_fetch_add(", "atomic_fetch_add_relaxed("),
    ("atomic_fetch_andnot(", "atomic_fetch_andnot_relaxed("),
    (" xchg(", " xchg_relaxed("),
];

/// Statements that do nothing but order.
const FENCES: &[&str] = &[
    "smp_mb();",
    "smp_rmb();",
    "smp_wmb();",
    "synchronize_rcu();",
];

/// Leaves out the ordering of a line.
fn weaken(lines: &mut [String], index: usize) -> Result<()> {
    let line = lines[index].clone();
    let (code, comment) = line.split_at(line.find("/*").unwrap_or(line.len()));
    let statement = code.trim();
    if let Some((strong, weak)) = WEAKER.iter().find(|(strong, _)| code.contains(strong)) {
        lines[index] = code.replacen(strong, weak, 1) + comment;
    } else if FENCES.contains(&statement) {
        lines[index].clear();
    } else if let Some(rest) = statement.strip_prefix("rcu_read_lock(") {
        leave_out_section(lines, index, &format!("rcu_read_unlock({rest}"))?;
    } else if let Some(rest) = statement.strip_prefix("spin_lock(") {
        leave_out_section(lines, index, &format!("spin_unlock({rest}"))?;
    } else {
        let plain = plain(statement);
        lines[index] = plain.with_context(|| format!("`{statement}` has no weaker form"))?;
    }
    Ok(())
}

/// Leaves out the begin of a section and its end.
fn leave_out_section(lines: &mut [String], begin: usize, end: &str) -> Result<()> {
    let mut rest = lines.iter_mut().skip(begin);
    let Some(end) = rest.find(|line| line.trim_start().starts_with(end)) else {
        bail!("no `{end}` after it");
    };
    end.clear();
    lines[begin].clear();
    Ok(())
}

/// Returns a statement with a plain access in place of a marked one.
fn plain(code: &str) -> Option<String> {
    let inner = |start: &str| code.strip_prefix(start)?.strip_suffix(");");
    if let Some((place, value)) = inner("WRITE_ONCE(").and_then(|inner| inner.split_once(", ")) {
        return Some(format!("{place} = {value};"));
    }
    let (register, load) = code.split_once(" = ")?;
    let load = ["READ_ONCE(", "rcu_dereference("]
        .iter()
        .find_map(|start| load.strip_prefix(start)?.strip_suffix(");"))?;
    Some(format!("{register} = {load};"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "C x

(*
 * Result: Never
 *)

{
}

P0(int *a, int *b)
{
	int r0;

	rcu_read_lock(); /* f(): preemption off */
	r0 = READ_ONCE(*a); /* f(): READ_ONCE(a->b) */
	rcu_read_unlock(); /* f(): unlocks */
	/* g(): release */
	/* g(): schedule_on_each_cpu; h(): write barrier */
	smp_store_release(b, 1);
	WRITE_ONCE(*a, 1); /* T::g(): relaxed */
}

exists (0:r0=1)
";

    #[test]
    fn lines_stand_for_orderings() {
        let test = Test::parse("x", TEST).unwrap();
        let key = |place: &str, what: &str| (place.to_owned(), what.to_owned());
        let expected = [
            key("T::g()", "relaxed"),
            key("f()", "READ_ONCE(a->b)"),
            key("f()", "preemption off"),
            key("g()", "release"),
            key("g()", "schedule_on_each_cpu"),
            key("h()", "write barrier"),
        ];
        assert_eq!(test.orderings(), BTreeSet::from(expected));
        assert_eq!(test.accesses[3].citations.len(), 3);
    }

    #[test]
    fn each_twin_leaves_out_one_ordering() {
        let twins = Test::parse("x", TEST).unwrap().twins().unwrap();
        let names: Vec<&str> = twins.iter().map(|twin| twin.name.as_str()).collect();
        assert_eq!(names, ["x+1", "x+2", "x+3"]);
        assert!(twins
            .iter()
            .all(|twin| twin.text.starts_with(&format!("C {}\n", twin.name))));
        let differ = |twin: &Twin| {
            let pairs = twin.text.lines().zip(TEST.lines()).skip(1);
            let differ = pairs.filter(|(weak, strong)| weak != strong);
            differ
                .map(|(weak, _)| weak.trim().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(differ(&twins[0]), ["", ""]);
        assert_eq!(differ(&twins[1]), ["r0 = *a;"]);
        assert_eq!(differ(&twins[2]), ["WRITE_ONCE(*b, 1);"]);
        assert_eq!(twins[2].orderings.len(), 3);
    }

    #[test]
    fn every_form_has_a_weaker_one() {
        for (strong, weak) in [
            ("r0 = smp_load_acquire(a);", "r0 = READ_ONCE(*a);"),
            ("rcu_assign_pointer(*a, b);", "WRITE_ONCE(*a, b);"),
            ("r0 = rcu_dereference(*a);", "r0 = *a;"),
            ("WRITE_ONCE(*a, 1);", "*a = 1;"),
            ("\tr0 = xchg(a, 1);", "\tr0 = xchg_relaxed(a, 1);"),
            ("smp_mb(); /* f(): full barrier */", ""),
            (
                "atomic_set_release(a, 0); /* f(): smp_store_release(&a) */",
                "atomic_set(a, 0); /* f(): smp_store_release(&a) */",
            ),
            ("synchronize_rcu();", ""),
        ] {
            let mut lines = [strong.to_owned()];
            weaken(&mut lines, 0).unwrap();
            assert_eq!(lines[0], weak);
        }
        let error = weaken(&mut ["r0 = r1;".to_owned()], 0).unwrap_err();
        assert!(error.to_string().contains("no weaker form"), "{error}");
        let error = weaken(&mut ["spin_lock(a);".to_owned()], 0).unwrap_err();
        assert!(
            error.to_string().contains("no `spin_unlock(a);`"),
            "{error}"
        );
    }

    #[test]
    fn a_test_that_says_too_little_is_refused() {
        for (from, to, why) in [
            ("C x", "C y", "`C x`"),
            ("Result: Never", "Result: Sometimes", "Result: Never"),
            ("f(): unlocks", "unlocks", "is not like"),
            ("f(): unlocks */", "f(): unlocks", "no `*/`"),
            ("\tsmp_store_release(b, 1);\n", "\n", "needs its access"),
        ] {
            let text = TEST.replace(from, to);
            let error = Test::parse("x", &text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
