// SPDX-License-Identifier: GPL-2.0
//! Structures whose definition changes. Objects that exist have the old layout, and code that is not
//! compiled anew goes by it. No object file shows that: the code that does not change is the trouble.

use crate::fix::{Change, Fix};
use crate::outline::{self, Kind};
use crate::rust;
use anyhow::{ensure, Result};

/// Returns the structures that the patches change, with their files.
pub fn changed(changes: &[Change]) -> Vec<String> {
    let of = |change: &Change| {
        let all = outline::changed(&change.before, &change.after, false);
        // An enumeration of Rust may hold values.
        let is_rust = rust::is_rust(&change.file);
        let layouts = all.into_iter().filter(move |(kind, _)| {
            *kind == Kind::Layout || is_rust && *kind == Kind::Enumeration
        });
        let file = change.file.display().to_string();
        let line = |(kind, name)| match kind {
            Kind::Enumeration => format!("{file}: `enum {name}`"),
            _ => format!("{file}: `struct {name}`"),
        };
        layouts.map(line).collect::<Vec<_>>()
    };
    changes.iter().flat_map(of).collect()
}

/// Fails if a structure changes that the author does not say may.
pub fn check(fix: &Fix, changes: &[Change], accepted: &[String]) -> Result<()> {
    let mut changed = changed(changes);
    changed.retain(|what| {
        !accepted
            .iter()
            .any(|name| what.ends_with(&format!(" {name}`")))
    });
    ensure!(
        changed.is_empty(),
        "no live patch can be made of {fix}:\n{}",
        changed
            .iter()
            .map(|what| refusal(what))
            .collect::<Vec<_>>()
            .join("\n")
    );
    Ok(())
}

/// Returns why such a change is refused, and what to do.
pub fn refusal(what: &str) -> String {
    format!(
        "{what}: its definition changed, and objects that exist have the old layout; keep it, and put \
         new members in a shadow variable (KLP_SHADOW() of livepatch-author.h), set up by a callback \
         where objects exist already; if none outlives a call of what the patch changes, say so with \
         --layout NAME"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outline::outline;
    use std::path::PathBuf;

    #[test]
    fn a_changed_structure_is_refused_unless_the_author_accepts_it() {
        let change = |after: &str| {
            [Change {
                file: PathBuf::from("include/a.h"),
                is_code: true,
                before: outline("struct pair {\n\tint a;\n};\n"),
                after: outline(after),
            }]
        };
        let fix = Fix {
            patches: vec!["fix.patch".into()],
            files: [].into(),
        };
        let grown = change("struct pair {\n\tint a;\n\tint b;\n};\n");
        let error = check(&fix, &grown, &[]).unwrap_err().to_string();
        for part in ["include/a.h: `struct pair`", "shadow variable", "--layout"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(check(&fix, &grown, &["air".into()]).is_err());
        check(&fix, &grown, &["pair".into()]).unwrap();
        for (what, before, after) in [
            (
                "struct Pair",
                "pub(crate) struct Pair {\n    a: u32,\n}\n",
                "pub(crate) struct Pair {\n    a: u64,\n}\n",
            ),
            (
                "enum Shape",
                "pub enum Shape {\n    Round,\n}\n",
                "pub enum Shape {\n    Round,\n    Flat(u32),\n}\n",
            ),
        ] {
            let rust = [Change {
                file: PathBuf::from("drivers/a.rs"),
                is_code: true,
                before: outline(before),
                after: outline(after),
            }];
            let error = check(&fix, &rust, &[]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("drivers/a.rs: `{what}`")),
                "{error}"
            );
        }
        let lifetime = outline("struct Own<'a> {\n    a: &'a u32,\n}\n");
        let same = [Change {
            file: PathBuf::from("drivers/a.rs"),
            is_code: true,
            before: lifetime.clone(),
            after: lifetime,
        }];
        check(&fix, &same, &[]).unwrap();
        let same = change("struct pair {\n\tint a; /* one */\n};\nstruct new {\n\tint b;\n};\n");
        check(&fix, &same, &[]).unwrap();
    }
}
