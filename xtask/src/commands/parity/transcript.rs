// SPDX-License-Identifier: GPL-2.0
//! Transcripts of what a guest reported about one core, and the difference between two of them.
//!
//! The player in `tests/guest/parity/` prints the transcript: a heading for each scenario and for
//! each step, and below a step lines that start with a letter. It prints no times. Other values
//! that differ from boot to boot are masked here.

use similar::TextDiff;
use std::fmt::Write as _;

/// One step of a scenario, and everything that was seen after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The command.
    pub command: String,
    /// The lines that were printed after it.
    pub lines: Vec<String>,
}

/// One scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Its steps, as far as the guest got.
    pub steps: Vec<Step>,
}

/// The whole report of one guest.
#[derive(Debug, Default)]
pub struct Transcript {
    /// The scenarios, as far as the guest got.
    pub scenarios: Vec<Scenario>,
    /// Whether the guest got to the end.
    pub whole: bool,
}

impl Transcript {
    /// Takes one line of the guest's console.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("# scenario ") {
            // The lines before the first step form a step too.
            self.scenarios.push(Scenario {
                name: name.to_owned(),
                steps: vec![Step {
                    command: "(before the first step)".into(),
                    lines: Vec::new(),
                }],
            });
        } else if line == "# end" {
            self.whole = true;
        } else if let Some(scenario) = self.scenarios.last_mut().filter(|_| !self.whole) {
            if let Some(command) = line.strip_prefix("# step ") {
                scenario.steps.push(Step {
                    command: command.to_owned(),
                    lines: Vec::new(),
                });
            } else if let Some(step) = scenario.steps.last_mut() {
                // One test of upstream's suite lets the kernel write to the console. These lines
                // are skipped, because they also come as lines of the log.
                if !line.starts_with(['#', '[']) {
                    step.lines.push(blot(line));
                }
            }
        }
    }

    /// Formats the transcript as text, for people and for `diff`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for scenario in &self.scenarios {
            let _ = writeln!(text, "scenario {}", scenario.name);
            for step in &scenario.steps {
                let _ = writeln!(text, "  {}", step.command);
                for line in &step.lines {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
        text
    }
}

impl Step {
    /// Returns lines that must not appear on any core: complaints of the kernel, and broken
    /// promises.
    pub fn wrongs(&self) -> impl Iterator<Item = &str> {
        let wrong = |line: &&String| line.starts_with("c ") || line.starts_with("x ");
        self.lines.iter().filter(wrong).map(String::as_str)
    }

    /// Returns how many lines of the log are in it.
    pub fn log_lines(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.starts_with("l "))
            .count()
    }

    /// Returns how many lines the sysfs tree had after it.
    pub fn sysfs_lines(&self) -> usize {
        let count = |line: &String| line.strip_prefix("n ")?.parse::<usize>().ok();
        self.lines.iter().find_map(count).unwrap_or(0)
    }
}

/// Returns the difference between two versions of a step as a unified diff, or `None` if there is
/// none.
pub fn difference(names: (&str, &str), a: &[String], b: &[String]) -> Option<String> {
    if a == b {
        return None;
    }
    let text = |lines: &[String]| -> String {
        lines.iter().fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    };
    let (a, b) = (text(a), text(b));
    let diff = TextDiff::from_lines(&a, &b);
    Some(
        diff.unified_diff()
            .context_radius(4)
            .header(names.0, names.1)
            .to_string(),
    )
}

/// The parameter that tells upstream's test of a system call which processes call it.
const PIDS: &str = "klp_pids=";

/// Masks what differs between two boots of the same kernel: addresses and process numbers.
fn blot(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = match line.find(PIDS) {
        Some(start) => &line[..start + PIDS.len()],
        None => line,
    };
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(start);
        out.push_str(before);
        let end = word
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex && (digits.len() >= 12 || (digits.len() < word.len() && digits.len() >= 6)) {
            out.push_str("ADDRESS");
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) && follows_a_task(&out) {
            out.push_str("PID");
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether the next word is the number in `task name:123`, as the livepatch core writes it.
fn follows_a_task(before: &str) -> bool {
    before
        .strip_suffix(':')
        .is_some_and(|name| name.ends_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_their_lines() {
        let mut transcript = Transcript::default();
        for line in [
            "# core: c",
            "# scenario a",
            "n 0",
            "# step load p",
            "r 0",
            "l <5> livepatch: x",
            "[   79.844958] livepatch: x",
            "n 7",
            "# end",
            "# guest: exit 0",
            "noise",
        ] {
            transcript.line(line);
        }
        assert!(transcript.whole);
        let step = &transcript.scenarios[0].steps[1];
        assert_eq!(step.command, "load p");
        assert_eq!((step.log_lines(), step.sysfs_lines()), (1, 7));
        assert_eq!(step.lines.len(), 3);
    }

    #[test]
    fn addresses_and_process_numbers_are_blotted_out() {
        assert_eq!(blot("l ptr00000000deadbeef"), "l ptr00000000deadbeef");
        assert_eq!(blot("l 00000000deadbeef x"), "l ADDRESS x");
        assert_eq!(blot("l func+0xffffffffa0"), "l func+ADDRESS");
        assert_eq!(
            blot("l <7> livepatch: cat:123 is running"),
            "l <7> livepatch: cat:PID is running"
        );
        assert_eq!(
            blot("l <5> % insmod x.ko klp_pids=12,13"),
            "l <5> % insmod x.ko klp_pids="
        );
        assert_eq!(blot("r EINVAL"), "r EINVAL");
        assert_eq!(blot("+ 0444 p/stack_order = 1"), "+ 0444 p/stack_order = 1");
    }

    #[test]
    fn a_complaint_is_wrong_on_any_core() {
        let step = Step {
            command: String::new(),
            lines: vec!["r 0".into(), "c WARNING: x".into(), "x y".into()],
        };
        assert_eq!(step.wrongs().count(), 2);
    }

    #[test]
    fn a_difference_is_a_unified_diff() {
        let lines = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            difference(("C", "Rust"), &lines(&["r 0"]), &lines(&["r 0"])),
            None
        );
        let diff = difference(
            ("C", "Rust"),
            &lines(&["r 0", "n 1"]),
            &lines(&["r 0", "n 2"]),
        );
        let diff = diff.unwrap();
        for part in ["--- C", "+++ Rust", "-n 1", "+n 2"] {
            assert!(diff.contains(part), "{diff}");
        }
    }
}
