// SPDX-License-Identifier: GPL-2.0
//! Findings of a checker that we keep, each with a reason.
//!
//! A list is a file of `xtask/lint/`. Each line has the kind of finding, the file or directory it
//! is about, and the reason. A line that no finding matches is an error too, so that the list does
//! not outlive what it excuses.

use anyhow::{bail, Context as _, Result};
use std::fs;
use std::path::Path;

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The checker's name for this kind.
    pub kind: String,
    /// The file that it is about.
    pub file: String,
    /// The checker's own line.
    pub line: String,
}

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    place: String,
}

impl Entry {
    fn covers(&self, finding: &Finding) -> bool {
        let below = self.place.ends_with('/') && finding.file.starts_with(&self.place);
        self.kind == finding.kind && (below || self.place == finding.file)
    }
}

/// Checks the findings against a list. Fails with the findings that are not on it, and with the
/// lines that no finding matches.
pub fn judge(list: &Path, findings: &[Finding]) -> Result<()> {
    let text = fs::read_to_string(list)
        .with_context(|| format!("cannot read the list {}", list.display()))?;
    let entries = entries(&text).with_context(|| list.display().to_string())?;
    let listed = |finding: &Finding| entries.iter().any(|entry| entry.covers(finding));
    let found = |entry: &Entry| findings.iter().any(|finding| entry.covers(finding));
    let new = findings.iter().filter(|finding| !listed(finding));
    let new: Vec<&str> = new.map(|finding| finding.line.as_str()).collect();
    let stale = entries.iter().filter(|entry| !found(entry));
    let stale: Vec<String> = stale
        .map(|entry| format!("{} {}", entry.kind, entry.place))
        .collect();
    let mut faults = Vec::new();
    if !new.is_empty() {
        faults.push(format!(
            "{} findings\n  {}\nnext: mend these lines; if one is right as it is, add its kind, its \
             file and the reason to {}",
            new.len(),
            new.join("\n  "),
            list.display()
        ));
    }
    if !stale.is_empty() {
        faults.push(format!(
            "nothing matches these lines of {}\n  {}\nnext: remove them",
            list.display(),
            stale.join("\n  ")
        ));
    }
    match faults.is_empty() {
        true => Ok(()),
        false => bail!("{}", faults.join("\n")),
    }
}

fn entries(text: &str) -> Result<Vec<Entry>> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(kind), Some(place), Some(_)) => Ok(Entry {
                kind: kind.into(),
                place: place.into(),
            }),
            _ => bail!("`{line}` is not a kind, a file and a reason"),
        }
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: &str, file: &str) -> Finding {
        Finding {
            kind: kind.into(),
            file: file.into(),
            line: format!("{file}:1: {kind}"),
        }
    }

    fn judged(list: &str, findings: &[Finding]) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        fs::write(&path, list).unwrap();
        judge(&path, findings)
    }

    #[test]
    fn a_finding_that_is_not_listed_fails() {
        let list = "# comment\n\nLONG a/b.c it is a table\nSHORT c/ below is generated\n";
        let found = [finding("LONG", "a/b.c"), finding("SHORT", "c/d/e.c")];
        judged(list, &found).unwrap();
        for new in [
            finding("LONG", "a/b.cc"),
            finding("SHORT", "a/b.c"),
            finding("SHORT", "cc/d.c"),
            finding("LONG", "c/d.c"),
        ] {
            let mut found = found.to_vec();
            found.push(new.clone());
            let error = judged(list, &found).unwrap_err().to_string();
            assert!(error.starts_with("1 findings"), "{error}");
            assert!(error.contains(&new.line), "{error}");
        }
    }

    #[test]
    fn a_line_that_excuses_nothing_fails() {
        let error = judged("LONG a.c why\n", &[]).unwrap_err().to_string();
        assert!(
            error.contains("LONG a.c") && error.contains("remove"),
            "{error}"
        );
    }

    #[test]
    fn every_line_has_a_reason() {
        for line in ["LONG", "LONG a.c"] {
            let error = judged(line, &[]).unwrap_err();
            assert!(format!("{error:#}").contains("a reason"), "{error:#}");
        }
    }
}
