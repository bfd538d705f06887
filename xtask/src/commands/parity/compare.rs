// SPDX-License-Identifier: GPL-2.0
//! Compares two transcripts of the same script.

use crate::commands::parity::transcript::{difference, Scenario, Step, Transcript};
use console::style;
use std::fmt::Write as _;

/// How many differing steps of one scenario are shown. The first one tells the most, and later ones
/// often follow from it.
const SHOWN: usize = 3;

/// An intended difference.
pub struct Documented {
    /// The letter of the line in a transcript: `l` for the log, `c` for a complaint.
    letter: &'static str,
    /// How the line starts, after its letter and its log level.
    pub line: &'static str,
    /// Why the line may be there on one core only.
    pub reason: &'static str,
}

/// All intended differences. `Documentation/livepatch/rust/differences.rst` lists them for users.
pub static DOCUMENTED: &[Documented] = &[
    Documented {
        letter: "l",
        line: "livepatch: Rust core, backend ",
        reason: "the line at boot that tells which core is inside",
    },
    // Only the C core has this function. Whether it meets a failing allocation depends on whether
    // the first attempt ends the transition.
    Documented {
        letter: "c",
        line: "WARNING: kernel/livepatch/patch.c:PID at klp_unpatch_func+",
        reason: "the C core's warning when ftrace has no memory to take a function off its filter",
    },
];

/// The result of one scenario.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Steps that both cores were asked to take.
    pub steps: usize,
    /// Log lines of the C core.
    pub log: usize,
    /// Lines of the sysfs tree, added up over the steps.
    pub sysfs: usize,
    /// Steps after which the cores differ.
    pub differences: usize,
    /// Complaints and broken promises, of both cores.
    pub wrongs: usize,
}

impl Row {
    /// Whether there is no difference, complaint or broken promise.
    pub fn passed(&self) -> bool {
        self.differences == 0 && self.wrongs == 0
    }

    /// Adds the counts of another row.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.log += other.log;
        self.sysfs += other.sysfs;
        self.differences += other.differences;
        self.wrongs += other.wrongs;
    }
}

/// Compares one scenario. Returns its row and a description of everything that is wrong.
pub fn scenario(name: &str, c: Option<&Scenario>, rust: Option<&Scenario>) -> (Row, String) {
    let none = Scenario::default();
    let (c, rust) = (c.unwrap_or(&none), rust.unwrap_or(&none));
    let mut row = Row {
        name: name.to_owned(),
        steps: c.steps.len().max(rust.steps.len()),
        ..Row::default()
    };
    let mut told = String::new();
    if row.steps == 0 {
        row.differences = 1;
        told.push_str("neither guest got there\n");
    }
    for index in 0..row.steps {
        let (c, rust) = (c.steps.get(index), rust.steps.get(index));
        let command = c.or(rust).map_or("", |step| step.command.as_str());
        let (c_lines, rust_lines) = (lines(c), lines(rust));
        row.log += c.map_or(0, Step::log_lines);
        row.sysfs += c.map_or(0, Step::sysfs_lines);
        if let Some(diff) = difference(("C core", "Rust core"), &c_lines, &rust_lines) {
            row.differences += 1;
            if row.differences <= SHOWN {
                let _ = writeln!(told, "step {index}: {command}\n{diff}");
            }
        }
        for (core, step) in [("C", c), ("Rust", rust)] {
            let wrongs = step.into_iter().flat_map(Step::wrongs);
            for wrong in wrongs.filter(|line| !is_documented(line)) {
                row.wrongs += 1;
                let _ = writeln!(told, "step {index}: {command}: {core} core: {wrong}");
            }
        }
    }
    if row.differences > SHOWN {
        let more = row.differences - SHOWN;
        let _ = writeln!(told, "and {more} more steps after which the cores differ");
    }
    (row, told)
}

/// Describes what is wrong with a scenario that is not compared. `None` means that the guest did
/// not get to it.
pub fn alone(scenario: Option<&Scenario>) -> String {
    let Some(scenario) = scenario else {
        return "the guest did not get there\n".into();
    };
    let mut told = String::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        for wrong in step.wrongs() {
            let _ = writeln!(told, "step {index}: {}: {wrong}", step.command);
        }
    }
    told
}

/// Returns the lines to compare. A step that the guest never got to has one line that says so.
fn lines(step: Option<&Step>) -> Vec<String> {
    let Some(step) = step else {
        return vec!["(the guest did not get here)".into()];
    };
    let compared = step.lines.iter().filter(|line| !is_documented(line));
    compared.cloned().collect()
}

fn is_documented(line: &str) -> bool {
    let (letter, rest) = line.split_once(' ').unwrap_or_default();
    let text = match letter {
        "l" => rest.split_once("> ").map_or(rest, |(_, text)| text),
        _ => rest,
    };
    DOCUMENTED
        .iter()
        .any(|documented| letter == documented.letter && text.starts_with(documented.line))
}

/// Returns the commands up to the first step after which the cores differ or either core is wrong.
pub fn shortest_prefix(c: &Scenario, rust: &Scenario) -> Vec<String> {
    let bad = |index: &usize| {
        let (c, rust) = (c.steps.get(*index), rust.steps.get(*index));
        let wrong = |step: Option<&Step>| {
            step.is_some_and(|step| step.wrongs().any(|line| !is_documented(line)))
        };
        lines(c) != lines(rust) || wrong(c) || wrong(rust)
    };
    let steps = c.steps.len().max(rust.steps.len());
    let last = (0..steps).find(bad).unwrap_or(steps);
    let longer = if c.steps.len() > rust.steps.len() {
        c
    } else {
        rust
    };
    let commands = longer.steps.iter().skip(1).take(last);
    commands.map(|step| step.command.clone()).collect()
}

/// Returns the scenario of that name in a transcript.
pub fn find<'a>(transcript: &'a Transcript, name: &str) -> Option<&'a Scenario> {
    transcript
        .scenarios
        .iter()
        .find(|scenario| scenario.name == name)
}

/// Formats the table of all rows.
pub fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut text = format!(
        "{:width$}  {:>6}  {:>9}  {:>11}  {:>11}  {:>10}\n",
        "scenario", "steps", "log lines", "sysfs lines", "differences", "complaints"
    );
    for row in rows {
        let line = format!(
            "{:width$}  {:>6}  {:>9}  {:>11}  {:>11}  {:>10}",
            row.name, row.steps, row.log, row.sysfs, row.differences, row.wrongs
        );
        let line = if row.passed() {
            style(line)
        } else {
            style(line).red()
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Transcript {
        let mut transcript = Transcript::default();
        text.lines().for_each(|line| transcript.line(line));
        transcript
    }

    fn compare(c: &str, rust: &str) -> (Row, String) {
        let (c, rust) = (transcript(c), transcript(rust));
        scenario("a", find(&c, "a"), find(&rust, "a"))
    }

    const SOUND: &str =
        "# scenario a\nn 0\n# step one\nr 0\nl <5> livepatch: x\nn 3\n# step two\nr 0\n";

    #[test]
    fn the_same_is_no_difference() {
        let (row, told) = compare(SOUND, SOUND);
        assert!(row.passed() && told.is_empty(), "{told}");
        assert_eq!((row.steps, row.log, row.sysfs), (3, 1, 3));
    }

    #[test]
    fn a_difference_names_its_step() {
        let (row, told) = compare(SOUND, &SOUND.replace("n 3", "n 4"));
        assert_eq!(row.differences, 1);
        assert!(
            told.contains("step 1: one") && told.contains("+n 4"),
            "{told}"
        );
    }

    #[test]
    fn a_guest_that_ended_early_differs() {
        let (row, told) = compare(SOUND, "# scenario a\nn 0\n# step one\nr 0\n");
        assert_eq!(row.differences, 2);
        assert!(told.contains("did not get here"), "{told}");
        assert!(!compare("", "").0.passed());
    }

    #[test]
    fn a_complaint_on_both_is_no_difference_and_fails() {
        let wrong = SOUND.replace("n 3", "c WARNING: at x");
        let (row, told) = compare(&wrong, &wrong);
        assert_eq!((row.differences, row.wrongs), (0, 2));
        assert!(told.contains("Rust core: c WARNING"), "{told}");
    }

    #[test]
    fn alone_a_complaint_and_a_missing_scenario_are_amiss() {
        let (sound, wrong) = (
            transcript(SOUND),
            transcript(&SOUND.replace("n 3", "c WARNING: at x")),
        );
        assert_eq!(alone(find(&sound, "a")), "");
        assert_eq!(alone(find(&wrong, "a")), "step 1: one: c WARNING: at x\n");
        assert!(!alone(find(&sound, "b")).is_empty());
    }

    #[test]
    fn what_is_documented_may_differ() {
        let boot = SOUND.replace("r 0\nl", "r 0\nl <6> livepatch: Rust core, backend x\nl");
        assert!(compare(SOUND, &boot).0.passed());

        let warning = "c WARNING: kernel/livepatch/patch.c:PID at klp_unpatch_func+0x136/0x140";
        let unpatched = SOUND.replace("n 3", &format!("n 3\n{warning}"));
        let (row, told) = compare(&unpatched, SOUND);
        assert!(row.passed(), "{told}");
        let other = unpatched.replace("klp_unpatch_func", "klp_other");
        assert!(!compare(&other, SOUND).0.passed());
    }

    #[test]
    fn a_prefix_ends_where_the_cores_part() {
        let (c, rust) = (transcript(SOUND), transcript(&SOUND.replace("n 3", "n 4")));
        assert_eq!(
            shortest_prefix(&c.scenarios[0], &rust.scenarios[0]),
            ["one"]
        );
    }
}
