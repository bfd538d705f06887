// SPDX-License-Identifier: GPL-2.0
//! Runs one script in a guest and reads its results.

use crate::guest::ktap::{Case, Event, Reader, Report, Verdict};
use crate::guest::qemu::{Boot, Clock, EmulatorHangs, Finished, SILENCE};
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, klpctl, samples};
use crate::kernel::flavour::Flavour;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use anyhow::{bail, Result};
use console::style;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Builds the initramfs of the suite with this name.
pub type Image = fn(&Context, &Kernel, Userspace, &str) -> Result<PathBuf>;

/// A script of `tests/guest/`, and what it takes to run it.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// The script's name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// The userspace it needs.
    pub userspace: Userspace,
    /// Builds its initramfs.
    pub image: Image,
    /// Words that it needs on the kernel's command line; may be empty.
    pub append: &'static str,
    /// How long it may take, including emulation on a busy host.
    pub deadline: Duration,
    /// Whether a skipped test is fine. A suite that every core runs in full has no reason to skip a
    /// test.
    pub may_skip: bool,
    /// Whether it runs on every architecture. Otherwise only the default one does, unless the suite is
    /// named: building what it needs takes long, and differs little.
    pub everywhere: bool,
}

impl Suite {
    /// Returns a suite that needs only a small userspace, and has no reason to skip a test.
    pub const fn new(name: &'static str, about: &'static str, minutes: u64) -> Self {
        Self {
            name,
            about,
            userspace: Userspace::Small,
            image: initramfs::suite,
            append: "",
            deadline: Duration::from_secs(60 * minutes),
            may_skip: false,
            everywhere: true,
        }
    }
}

/// The suite that `demo` runs.
pub static DEMO: Suite = Suite::new("demo", "one live patch, start to finish", 5);

/// Prints which core the kernel has.
pub static HELLO: Suite = Suite::new("hello", "which core is inside", 3);

const SMOKE: &str = "the demo's steps, and what the core must refuse";
const KSELFTEST: &str = "upstream's livepatch selftests, unmodified";
const KUNIT: &str = "the core's unit tests, inside the kernel";
const NEIGHBOURS: &str = "tracers, kprobes and BPF programs on patched functions, in every gear";
const TRANSITIONS: &str = "what holds a transition up, who says so, and what brings it to an end";
const KLPCTL: &str = "the administrator's tool: every command, and what bad input gets";
const SAMPLES: &str = "live patches in Rust: those of samples/";
const SETTLE: &str = "the boot parameter livepatch.settle=0, and what is ready when";

/// The suites that `test` runs, in order.
pub static TESTS: &[Suite] = &[
    Suite {
        may_skip: true,
        ..Suite::new("smoke", SMOKE, 8)
    },
    Suite {
        // The C core has no unit tests.
        may_skip: true,
        ..Suite::new("kunit", KUNIT, 5)
    },
    Suite {
        userspace: Userspace::Full,
        ..Suite::new("kselftest", KSELFTEST, 30)
    },
    Suite {
        // Not every architecture has kprobes on ftrace, and not every kernel has BPF.
        may_skip: true,
        ..Suite::new("neighbours", NEIGHBOURS, 30)
    },
    Suite {
        // The C core gets some of these cases wrong.
        may_skip: true,
        ..Suite::new("regressions", "what once went wrong", 20)
    },
    Suite {
        // Only the Rust core says what a transition waits for, and some scenes are x86_64's.
        may_skip: true,
        ..Suite::new("transitions", TRANSITIONS, 8)
    },
    Suite {
        image: klpctl::image,
        // Some scenes are x86_64's.
        may_skip: true,
        // The library that the program is linked with is built for most others.
        everywhere: false,
        ..Suite::new("klpctl", KLPCTL, 5)
    },
    Suite {
        image: samples::image,
        // Each wrong live patch is compiled by itself, which takes as long as all else.
        everywhere: false,
        ..Suite::new("samples", SAMPLES, 8)
    },
    Suite {
        append: "livepatch.settle=0 initcall_debug",
        // Only the Rust core has the parameter, and only some architectures have the settled gear.
        may_skip: true,
        ..Suite::new("settle", SETTLE, 5)
    },
];

/// Returns the test suite of that name.
pub fn find(name: &str) -> Result<&'static Suite> {
    match TESTS.iter().find(|suite| suite.name == name) {
        Some(suite) => Ok(suite),
        None => {
            let known = TESTS
                .iter()
                .map(|suite| format!("{} ({})", suite.name, suite.about));
            bail!(
                "no guest suite is called `{name}`: known are {}",
                known.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// How much of a suite is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything, for people to read.
    Story,
    /// Only results, and the lines that explain failures.
    Results,
}

/// The outcome of a suite.
#[derive(Debug)]
pub struct Outcome {
    /// Its results, as far as it got.
    pub report: Report,
    /// How the guest ended. It is an error if the guest did not get to the script's end.
    pub end: Result<Finished>,
}

impl Outcome {
    /// Returns what the suite came to. Prints how the guest ended.
    pub fn tally(self) -> Tally {
        let mut tally = Tally {
            passed: self.report.passed(),
            skipped: self.report.skipped(),
            failures: self.report.failures().collect(),
        };
        match self.end {
            Ok(end) => println!(
                "  {:.0} s; log: {}",
                end.took.as_secs_f32(),
                end.log.display()
            ),
            Err(error) => tally += Tally::failure(&error),
        }
        tally
    }
}

impl Suite {
    /// Boots the kernel, runs the script and shows its results as they come.
    ///
    /// Fails if there is no guest to boot. Failures in the guest are in the outcome.
    pub fn run(&self, cx: &Context, kernel: &Kernel, view: View) -> Result<Outcome> {
        let userspace = match kernel.flavour {
            Flavour::Distribution => Userspace::Distribution,
            _ => self.userspace,
        };
        let initramfs = (self.image)(cx, kernel, userspace, self.name)?;
        self.run_in(cx, kernel, &initramfs, view)
    }

    /// Like [`Self::run`], with an initramfs that was made for the suite.
    pub fn run_in(
        &self,
        cx: &Context,
        kernel: &Kernel,
        initramfs: &Path,
        view: View,
    ) -> Result<Outcome> {
        self.run_on(cx, kernel, initramfs, &mut |event| show(&event, view))
    }

    /// Like [`Self::run_in`], with `show` to print the events.
    pub fn run_on(
        &self,
        cx: &Context,
        kernel: &Kernel,
        initramfs: &Path,
        show: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome> {
        let mut reader = Reader::default();
        let boot = self.boot(kernel, initramfs);
        let mut end = boot.run(cx, &mut |line| show(reader.line(line)));
        // A hang of the emulator says nothing about the kernel, so the guest is booted once more. A
        // second hang is reported.
        if let Some(error) = end
            .as_ref()
            .err()
            .filter(|error| error.is::<EmulatorHangs>())
        {
            eprintln!("error: {error:#}\nThe guest is booted once more.");
            reader = Reader::default();
            end = boot.run(cx, &mut |line| show(reader.line(line)));
        }
        let mut report = reader.finish(end.is_ok());
        match &end {
            Ok(Finished { status: 0, .. }) => {}
            Ok(Finished { status, .. }) if report.failed() == 0 => {
                report.problems.push(format!(
                    "nothing failed, but the script's exit status is {status}"
                ));
            }
            _ => {}
        }
        if !self.may_skip {
            refuse_skips(&mut report, kernel.target.skips);
        }
        for problem in &report.problems {
            println!("  {} {problem}", tally::mark(false));
        }
        Ok(Outcome { report, end })
    }

    /// Boots the kernel with its console on the user's terminal.
    pub fn attach(&self, cx: &Context, kernel: &Kernel) -> Result<()> {
        let initramfs = (self.image)(cx, kernel, self.userspace, self.name)?;
        self.boot(kernel, &initramfs).attach(cx)
    }

    fn boot<'a>(&'a self, kernel: &'a Kernel, initramfs: &'a Path) -> Boot<'a> {
        Boot {
            kernel,
            initramfs,
            script: self.name,
            append: self.append,
            deadline: self.deadline,
            silence: SILENCE,
            clock: Clock::Time,
            monitor: None,
        }
    }
}

/// Turns each skipped test without an excuse into a problem, because a skipped test has tested
/// nothing. Only a target on which a test means nothing excuses it.
fn refuse_skips(report: &mut Report, excused: &[(&str, &str)]) {
    report.cases.retain(|case| {
        let Verdict::Skip(why) = &case.verdict else {
            return true;
        };
        let excuse = excused.iter().find(|(name, _)| *name == case.name);
        match excuse {
            Some((name, excuse)) => println!("  {} {name}: {excuse}", style("-").yellow()),
            None => report
                .problems
                .push(format!("`{}` was skipped: {why}", case.name)),
        }
        excuse.is_some()
    });
}

/// Prints an event of a running suite.
pub fn show(event: &Event<'_>, view: View) {
    match (event, view) {
        (Event::Heading(text), View::Story) => println!("\n{}", style(text).bold()),
        (Event::Text(text), View::Story) => println!("  {text}"),
        (Event::Subtest(case), View::Results) => {
            explain(case, "    ");
            println!("    {} {}", mark(case), style(&case.name).dim());
        }
        (Event::Subtest(case), View::Story) => println!("    {} {}", mark(case), case.name),
        (Event::Case(case), view) => {
            if view == View::Results {
                explain(case, "  ");
            }
            println!("  {} {}{}", mark(case), case.name, remark(case));
        }
        (Event::Heading(_) | Event::Text(_) | Event::Other, _) => {}
    }
}

fn explain(case: &Case, indent: &str) {
    if case.verdict == Verdict::Fail {
        for line in &case.told {
            println!("{indent}  {line}");
        }
    }
}

fn mark(case: &Case) -> console::StyledObject<&'static str> {
    match case.verdict {
        Verdict::Pass => tally::mark(true),
        Verdict::Fail => tally::mark(false),
        Verdict::Skip(_) => style("-").yellow(),
    }
}

fn remark(case: &Case) -> String {
    match (&case.verdict, case.subtests) {
        (Verdict::Skip(why), _) => format!(" (skipped: {why})"),
        (_, (0, _)) => String::new(),
        (_, (1, 0)) => " (1 subtest)".into(),
        (_, (all, 0)) => format!(" ({all} subtests)"),
        (_, (all, failed)) => format!(" ({failed} of {all} subtests failed)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_lists_the_known_ones() {
        let error = find("none").unwrap_err().to_string();
        for suite in TESTS {
            assert!(error.contains(suite.name), "{error}");
        }
    }

    #[test]
    fn every_suite_has_its_script() {
        let (_dir, cx) = Context::for_test();
        for suite in TESTS.iter().chain([&DEMO, &HELLO]) {
            let script = cx.root.join("tests/guest").join(suite.name);
            assert!(script.exists(), "{}", script.display());
        }
    }

    #[test]
    fn a_skip_is_a_failure_where_it_has_no_excuse() {
        let count = |excused: &[(&str, &str)]| {
            let mut reader = Reader::default();
            for line in ["1..2", "ok 1 - a", "ok 2 - b # SKIP no c"] {
                reader.line(line);
            }
            let mut report = reader.finish(true);
            refuse_skips(&mut report, excused);
            (report.passed(), report.failed(), report.skipped())
        };
        assert_eq!(count(&[]), (1, 1, 0));
        assert_eq!(count(&[("c", "")]), (1, 1, 0));
        assert_eq!(count(&[("b", "has no c")]), (1, 0, 1));
    }
}
