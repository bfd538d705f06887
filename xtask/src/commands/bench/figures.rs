// SPDX-License-Identifier: GPL-2.0
//! Figures: the samples of each measurement, and the statistics of both cores.

use crate::commands::cli::Group;
use crate::guest::qemu::NANOSECONDS_PER_INSTRUCTION;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All samples of one kernel, by figure and size.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<(String, u64), Vec<u64>>);

impl Samples {
    /// Takes a line of a guest's console. A line `bench NAME SIZE VALUE` is a sample; other lines
    /// are ignored.
    pub fn line(&mut self, line: &str) {
        let mut words = line.split(' ');
        if words.next() != Some("bench") {
            return;
        }
        let name = words.next();
        let mut number = || words.next()?.parse().ok();
        if let (Some(name), Some(size), Some(value)) = (name, number(), number()) {
            self.add(name, size, value);
        }
    }

    /// Adds a sample.
    pub fn add(&mut self, name: &str, size: u64, value: u64) {
        let samples = self.0.entry((name.to_owned(), size)).or_default();
        samples.push(value);
    }

    fn get(&self, name: &str, size: u64) -> &[u64] {
        let samples = self.0.get(&(name.to_owned(), size));
        samples.map_or(&[], Vec::as_slice)
    }

    fn sizes(&self, name: &str) -> impl Iterator<Item = u64> + '_ {
        let name = name.to_owned();
        let mine = self.0.keys().filter(move |(own, _)| *own == name);
        mine.map(|&(_, size)| size)
    }

    /// Returns the cost of one call beyond an unpatched call, in instructions.
    fn extra_instructions(&self, name: &str) -> Option<Statistic> {
        let size = self.sizes(name).next()?;
        let unpatched = Statistic::of(self.get("unpatched", size), 1.0)?.median;
        let mut own = Statistic::of(self.get(name, size), 1.0)?;
        for value in [&mut own.median, &mut own.least, &mut own.most] {
            *value = (*value - unpatched) / size as f64 / NANOSECONDS_PER_INSTRUCTION;
        }
        Some(own)
    }
}

/// The statistics of some samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistic {
    /// The median of the samples.
    pub median: f64,
    /// The smallest sample.
    pub least: f64,
    /// The largest sample.
    pub most: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Statistic {
    /// Computes the statistics of `samples`, in units of `unit`. Returns `None` if there are no
    /// samples.
    fn of(samples: &[u64], unit: f64) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().map(|&sample| sample as f64 / unit).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0,
            _ => *sorted.get(middle)?,
        };
        Some(Self {
            median,
            least: *sorted.first()?,
            most: *sorted.last()?,
            samples: sorted.len(),
        })
    }
}

/// One figure of both cores.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What is measured.
    pub name: &'static str,
    /// The number of functions or tasks, or 0 if the figure has none.
    pub size: u64,
    /// The unit of the values.
    pub unit: &'static str,
    /// The C core's values.
    pub c: Statistic,
    /// The Rust core's values.
    pub rust: Statistic,
}

impl Figure {
    /// Returns the ratio of the C core's median to the Rust core's. Returns `None` if the Rust
    /// core's median is not above zero.
    pub fn ratio(&self) -> Option<f64> {
        (self.rust.median > 0.0).then(|| self.c.median / self.rust.median)
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    architecture: &'static str,
    release: String,
    /// The figures, in the order of the table.
    pub figures: Vec<Figure>,
}

/// A figure that is only scaled: its name in the samples, its name in the report, its unit, and how
/// much of the sampled quantity makes one unit.
type Plain = (&'static str, &'static str, &'static str, f64);

const MILLISECONDS: f64 = 1e6;

const CALLS: &[(&str, &str)] = &[
    ("jump", "call through a bare jump"),
    ("transition", "call in transition"),
    ("settled", "call, settled"),
];
const PATCHES: &[Plain] = &[
    ("enable", "enable", "ms", MILLISECONDS),
    ("settle", "settle", "ms", MILLISECONDS),
    ("disable", "disable", "ms", MILLISECONDS),
    ("unload", "unload", "ms", MILLISECONDS),
    ("memory", "memory", "KiB", 1024.0),
];
const TASKS: &[Plain] = &[
    ("attempt", "transition attempt", "ms", MILLISECONDS),
    (
        "stretch",
        "longest non-preemptible stretch",
        "ms",
        MILLISECONDS,
    ),
    (
        "storm-alone",
        "the same, of forks alone",
        "ms",
        MILLISECONDS,
    ),
    (
        "storm-stretch",
        "the same, attempt and forks",
        "ms",
        MILLISECONDS,
    ),
];
const TRANSITIONS: &[Plain] = &[
    ("idle", "over, idle guest", "ms", MILLISECONDS),
    (
        "sleepers",
        "over, 1000 sleeping threads",
        "ms",
        MILLISECONDS,
    ),
    (
        "spinners",
        "over, busy user task per CPU",
        "ms",
        MILLISECONDS,
    ),
    ("light", "over, sleeper in function", "ms", MILLISECONDS),
    ("heavy", "over, after deep sleeper woke", "ms", MILLISECONDS),
    ("busy", "over, busy kthread", "ms", MILLISECONDS),
    (
        "storm",
        "over, 10000 tasks and fork storm",
        "ms",
        MILLISECONDS,
    ),
];
const SIZE: &[Plain] = &[("text", "code", "KiB", 1024.0)];

impl Report {
    /// Creates an empty report.
    pub fn new(architecture: &'static str, release: &str) -> Self {
        Self {
            architecture,
            release: release.to_owned(),
            figures: Vec::new(),
        }
    }

    /// Adds a group of figures. A figure that either kernel did not measure is left out.
    pub fn add(&mut self, group: Group, c: &Samples, rust: &Samples) {
        let plain = match group {
            Group::Calls => return self.add_calls(c, rust),
            Group::Patches => PATCHES,
            Group::Tasks => TASKS,
            Group::Transitions => TRANSITIONS,
            Group::Size => SIZE,
        };
        for &(sample, name, unit, worth) in plain {
            for size in c.sizes(sample) {
                let both = [c, rust].map(|own| Statistic::of(own.get(sample, size), worth));
                self.push(name, size, unit, both);
            }
        }
    }

    fn add_calls(&mut self, c: &Samples, rust: &Samples) {
        for &(sample, name) in CALLS {
            let both = [c, rust].map(|own| own.extra_instructions(sample));
            self.push(name, 0, "extra instructions", both);
        }
    }

    fn push(
        &mut self,
        name: &'static str,
        size: u64,
        unit: &'static str,
        both: [Option<Statistic>; 2],
    ) {
        if let [Some(c), Some(rust)] = both {
            self.figures.push(Figure {
                name,
                size,
                unit,
                c,
                rust,
            });
        }
    }

    /// Formats the report as JSON.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Formats the report as a table for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "Linux {} on {}\n{:32} {:>6} {:19} {:>28} {:>28} {:>8}\n",
            self.release,
            self.architecture,
            "figure",
            "size",
            "unit",
            "C (least..most)",
            "Rust (least..most)",
            "C/Rust"
        );
        for figure in &self.figures {
            let size = match figure.size {
                0 => String::new(),
                size => size.to_string(),
            };
            let ratio = match figure.ratio() {
                Some(ratio) => format!("{ratio:.2}"),
                None => "-".to_owned(),
            };
            let _ = writeln!(
                text,
                "{:32} {:>6} {:19} {:>28} {:>28} {:>8}",
                figure.name,
                size,
                figure.unit,
                cell(&figure.c),
                cell(&figure.rust),
                ratio
            );
        }
        text
    }
}

/// Formats the median, and the range if there are several samples.
fn cell(statistic: &Statistic) -> String {
    let Statistic {
        median,
        least,
        most,
        samples,
    } = statistic;
    match samples {
        1 => format!("{median:.2}"),
        _ => format!("{median:.2} ({least:.2}..{most:.2})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(lines: &[&str]) -> Samples {
        let mut samples = Samples::default();
        lines.iter().for_each(|line| samples.line(line));
        samples
    }

    #[test]
    fn only_lines_with_samples_count() {
        let samples = samples(&[
            "bench enable 10 5",
            "bench enable 10 7",
            "bench x",
            "noise 1 2",
        ]);
        assert_eq!(samples.get("enable", 10), [5, 7]);
        assert_eq!(samples.0.len(), 1);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Statistic::of(&[3, 1, 2], 1.0).unwrap();
        assert_eq!((odd.median, odd.least, odd.most), (2.0, 1.0, 3.0));
        assert_eq!(Statistic::of(&[4, 1, 2, 3], 2.0).unwrap().median, 1.25);
        assert_eq!(Statistic::of(&[], 1.0), None);
    }

    #[test]
    fn calls_are_counted_beyond_the_unpatched_one() {
        let own = |settled: u64| {
            samples(&[
                "bench unpatched 100 1600",
                &format!("bench settled 100 {settled}"),
            ])
        };
        let mut report = Report::new("any", "7.3");
        report.add(Group::Calls, &own(17400), &own(2000));
        let [settled] = &report.figures[..] else {
            panic!("{report:?}");
        };
        assert_eq!((settled.c.median, settled.rust.median), (79.0, 2.0));
        assert_eq!(settled.ratio(), Some(39.5));
        assert!(report.table().contains("39.50"));
        assert!(report.json().unwrap().contains("\"median\": 79.0"));
    }
}
