// SPDX-License-Identifier: GPL-2.0
//! What both tools made of each patch, as text: a table of figures, and a list of functions.

use crate::commands::patch::aligned::aligned;
use crate::kernel::klp_build::Made;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

/// The names of the tools.
const OURS: &str = "xtask";
const KLP_BUILD: &str = "klp-build";

const HEADS: [&str; 9] = [
    "Patch",
    "xtask",
    "cold, s",
    "warm, s",
    "bytes",
    "klp-build",
    "warm, s",
    "bytes",
    "load",
];

/// One patch.
pub struct Row {
    /// Its name.
    pub name: String,
    /// How busy the machine was before.
    pub load: f32,
    /// How long ours took without kept objects, in seconds.
    pub cold: f32,
    /// What ours made of it, with kept objects.
    pub ours: Made,
    /// What klp-build made of it, from its original build.
    pub klp_build: Made,
}

/// Returns all of it as reStructuredText. `original` is how long the original build of klp-build
/// took, and whether this run made it.
pub fn text(release: &str, original: (Duration, bool), rows: &[Row]) -> String {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let (took, is_new) = original;
    let when = match is_new {
        true => "",
        false => " in an earlier run",
    };
    let mut text = format!(
        "Linux {release}, on {cpus} CPUs. The original build of klp-build took {:.0} s{when}.\n\n",
        took.as_secs_f32()
    );
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(figures));
    text += &aligned(&lines);
    for row in rows {
        let _ = writeln!(text, "\n``{}``", row.name);
        let (ours, theirs) = (found(&row.ours), found(&row.klp_build));
        if row.ours.result.is_ok() && ours == theirs {
            let _ = writeln!(text, "    Both: {ours}");
        } else {
            let _ = writeln!(text, "    | {OURS}: {ours}\n    | {KLP_BUILD}: {theirs}");
        }
    }
    text
}

/// Returns a line of the table.
fn figures(row: &Row) -> [String; HEADS.len()] {
    let count = |made: &Made| match &made.result {
        Ok((_, functions)) => functions.len().to_string(),
        Err(_) => "none".into(),
    };
    let size = |made: &Made| match &made.result {
        Ok((module, _)) => module.len().to_string(),
        Err(_) => "-".into(),
    };
    let seconds = |seconds: f32| format!("{seconds:.1}");
    [
        format!("``{}``", row.name),
        count(&row.ours),
        seconds(row.cold),
        seconds(row.ours.seconds),
        size(&row.ours),
        count(&row.klp_build),
        seconds(row.klp_build.seconds),
        size(&row.klp_build),
        format!("{:.0}", row.load),
    ]
}

/// Returns the functions, or why there are none.
fn found(made: &Made) -> String {
    match &made.result {
        Ok((_, functions)) => {
            let names: BTreeSet<_> = functions.iter().map(|name| format!("``{name}``")).collect();
            names.into_iter().collect::<Vec<_>>().join(", ")
        }
        // What a tool prints is no markup.
        Err(error) => format!("``{}``", error.replace('`', "'")),
    }
}

/// Returns the first line of a text.
pub fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(seconds: f32, result: Result<&[&str], &str>) -> Made {
        let result = result
            .map(|names| {
                (
                    vec![0; 9],
                    names.iter().map(|name| (*name).into()).collect(),
                )
            })
            .map_err(str::to_owned);
        Made { seconds, result }
    }

    fn row(name: &str, ours: Result<&[&str], &str>, theirs: Result<&[&str], &str>) -> Row {
        Row {
            name: name.into(),
            load: 3.6,
            cold: 5.25,
            ours: made(2.5, ours),
            klp_build: made(30.0, theirs),
        }
    }

    #[test]
    fn what_both_find_is_listed_once_in_any_order() {
        let rows = [row("same", Ok(&["b", "a"]), Ok(&["a", "b"]))];
        let text = text("7.3", (Duration::from_secs(700), true), &rows);
        assert!(
            text.contains("``same``\n    Both: ``a``, ``b``\n"),
            "{text}"
        );
        assert!(text.contains("took 700 s.\n"), "{text}");
        assert!(
            text.contains(
                "\n``same``  2      5.2      2.5      9      2          30.0     9      4\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn where_they_differ_both_are_listed() {
        let rows = [
            row("more", Ok(&["a", "b"]), Ok(&["a"])),
            row("none", Err("it `changed`"), Err("it `changed`")),
        ];
        let text = text("7.3", (Duration::from_secs(1), false), &rows);
        assert!(text.contains("in an earlier run"), "{text}");
        let more = "    | xtask: ``a``, ``b``\n    | klp-build: ``a``\n";
        let none = "    | xtask: ``it 'changed'``\n    | klp-build: ``it 'changed'``\n";
        assert!(text.contains(more) && text.contains(none), "{text}");
        assert!(
            text.contains("\n``none``  none   5.2      2.5      -      none "),
            "{text}"
        );
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let lines = [["a", "b"], ["long", "1"]].map(|line| line.map(str::to_owned));
        assert_eq!(
            aligned(&lines),
            "====  =\na     b\n====  =\nlong  1\n====  =\n"
        );
    }

    #[test]
    fn of_an_error_one_line_is_shown() {
        assert_eq!(first_line("a\nb"), "a");
        assert_eq!(first_line(""), "");
    }
}
