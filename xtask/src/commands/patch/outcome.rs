// SPDX-License-Identifier: GPL-2.0
//! What became of each patch, on each architecture and core: one table.

use crate::commands::patch::aligned::aligned;
use crate::guest::ktap::{Report, Verdict};
use crate::kernel::flavour::Core;
use klp_patch::Module;

/// The columns of the table that a guest fills, and the names of the tests that each stands for, as
/// `tests/guest/patches/run` prints them after the name of the patch.
const STEPS: [(&str, &[&str]); 4] = [
    ("loads", &["the module loads"]),
    (
        "works",
        &["no effect before", "in effect", "no effect after"],
    ),
    (
        "settles",
        &["every task moves over", "every task moves back"],
    ),
    ("unloads", &["the module unloads"]),
];

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    target: &'static str,
    core: Core,
    name: String,
    /// Whether there is a script that tells whether the patch works.
    scripted: bool,
    /// How many functions and bytes the module has, if there is one.
    made: Option<(usize, usize)>,
    /// What the tests of each column came to, if they ran.
    steps: [Option<bool>; STEPS.len()],
}

impl Outcome {
    /// Returns the outcome of a patch that has this module, or none, and that no guest has run yet.
    /// `scripted` says whether there is a script that tells whether it works.
    pub fn new(
        (target, core): (&'static str, Core),
        name: &str,
        scripted: bool,
        module: Option<&Module>,
    ) -> Self {
        let made = module.map(|module| {
            let functions = module.functions.iter().map(|(_, names)| names.len()).sum();
            (functions, module.bytes.len())
        });
        Self {
            target,
            core,
            name: name.to_owned(),
            scripted,
            made,
            steps: [None; STEPS.len()],
        }
    }

    /// Takes in what a guest reports of it.
    pub fn fill(&mut self, report: &Report) {
        for ((_, tests), step) in STEPS.iter().zip(&mut self.steps) {
            let verdict = |test: &&str| {
                let name = format!("{}: {test}", self.name);
                let case = report.cases.iter().find(|case| case.name == name)?;
                match case.verdict {
                    Verdict::Pass => Some(true),
                    Verdict::Fail => Some(false),
                    Verdict::Skip(_) => None,
                }
            };
            let verdicts: Option<Vec<bool>> = tests.iter().map(verdict).collect();
            // A failure counts even if a later test did not run.
            let failed = tests.iter().any(|test| verdict(test) == Some(false));
            *step = match verdicts {
                _ if failed => Some(false),
                verdicts => verdicts.map(|_| true),
            };
        }
    }

    fn line(&self) -> [String; 9] {
        let number = |number: Option<usize>| number.map_or("-".into(), |n| n.to_string());
        let step = |at: usize| match self.steps.get(at).copied().flatten() {
            Some(true) if STEPS[at].0 == "works" && !self.scripted => "no script".to_owned(),
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
            None => "-".to_owned(),
        };
        [
            self.target.to_owned(),
            self.core.to_string(),
            self.name.clone(),
            self.made.map_or("none".to_owned(), |(n, _)| n.to_string()),
            number(self.made.map(|(_, bytes)| bytes)),
            step(0),
            step(1),
            step(2),
            step(3),
        ]
    }
}

/// Returns the table.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut lines = vec![[
        "arch",
        "core",
        "patch",
        "functions",
        "bytes",
        STEPS[0].0,
        STEPS[1].0,
        STEPS[2].0,
        STEPS[3].0,
    ]
    .map(str::to_owned)];
    lines.extend(outcomes.iter().map(Outcome::line));
    aligned(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::ktap::Reader;
    use crate::tools::context::Context;

    fn outcome(scripted: bool, module: Option<&Module>) -> Outcome {
        Outcome::new(("s390", Core::C), "fix", scripted, module)
    }

    fn module() -> Module {
        Module {
            bytes: vec![0; 7],
            functions: vec![("vmlinux".into(), vec!["f".into(), "g".into()])],
        }
    }

    fn report(lines: &[&str]) -> Report {
        let mut reader = Reader::default();
        for line in lines {
            reader.line(line);
        }
        reader.finish(true)
    }

    #[test]
    fn the_table_says_how_far_each_patch_got() {
        let mut good = outcome(true, Some(&module()));
        let all = STEPS.iter().flat_map(|(_, tests)| *tests);
        let lines: Vec<_> = all.map(|test| format!("ok fix: {test}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        good.fill(&report(&lines));
        assert_eq!(good.line()[3..], ["2", "7", "yes", "yes", "yes", "yes"]);

        let mut bad = outcome(true, Some(&module()));
        bad.fill(&report(&[
            "ok fix: the module loads",
            "not ok fix: in effect",
            "ok fix: the module unloads # SKIP it is gone",
            "ok other: every task moves over",
        ]));
        assert_eq!(bad.line()[5..], ["yes", "NO", "-", "-"]);

        let mut unscripted = outcome(false, Some(&module()));
        unscripted.fill(&report(&lines));
        assert_eq!(unscripted.line()[6], "no script");
        assert_eq!(outcome(true, None).line()[3..6], ["none", "-", "-"]);
        let text = table(&[good, bad]);
        assert!(text.contains("s390  c     fix    2"), "{text}");
    }

    #[test]
    fn the_suite_prints_these_names() {
        let (_dir, cx) = Context::for_test();
        let script = std::fs::read_to_string(cx.root.join("tests/guest/patches/run")).unwrap();
        for test in STEPS.iter().flat_map(|(_, tests)| *tests) {
            assert!(script.contains(&format!("$patch: {test}\"")), "{test}");
        }
    }
}
