// SPDX-License-Identifier: GPL-2.0
//! A review of patches for people, before a module is made: which functions change and why, what the
//! tracer can't see, what could hold a transition up, and what is refused.

use crate::base::Base;
use crate::calls::Calls;
use crate::compile::Pair;
use crate::fix::{Change, Fix};
use crate::outline::{self, Kind};
use crate::{combine, compared, layout, sample};
use anyhow::{bail, Result};
use klp_diff::compare::Difference;
use klp_diff::outside::{Exports, Image};
use klp_diff::{graph, names, runtime, Diff, Environment, Error, Input};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use steps::workplace::Workplace;

/// Where a task sleeps.
const SLEEP: &[&str] = &["schedule", "schedule_timeout", "schedule_preempt_disabled"];

/// What is called only when something is wrong, or at most once in a while.
const RARE: &[&str] = &[
    "_printk",
    "__warn_printk",
    "panic",
    "dump_stack",
    "oops_enter",
    "die",
    "__stack_chk_fail",
    "do_exit",
    "make_task_dead",
];

/// What the main loop of a kernel thread asks for.
const LOOP: &[&str] = &[
    "kthread_should_stop",
    "kthread_should_park",
    "kthread_freezable_should_stop",
];

/// A function of the module.
#[derive(Debug)]
struct Function {
    name: String,
    /// Why it is in the module.
    why: String,
    /// What an administrator should know.
    remarks: Vec<String>,
}

/// The review.
#[derive(Debug, Default)]
pub struct Report {
    /// The functions, by source file and kernel object.
    functions: BTreeMap<(PathBuf, String), Vec<Function>>,
    /// What is told though nothing is refused.
    notes: Vec<String>,
    /// What is refused.
    refused: Vec<String>,
}

/// Reviews patches. `samples` is how often the stacks of this system are looked at.
pub fn explain(work: &Workplace, base: &Base, fix: &Fix, samples: Option<u32>) -> Result<Report> {
    if samples.is_some() {
        base.check_running()?;
    }
    let calls = Calls::read(&base.out.join("vmlinux"))?;
    let changes = fix.changes(&base.tree)?;
    let mut report = compared(work, base, fix, ("the patch", &changes), |_, pairs| {
        review(base, pairs, &changes, &calls)
    })?;
    for what in layout::changed(&changes) {
        report.refused.push(layout::refusal(&what));
    }
    if let Some(rounds) = samples {
        let names = report.names();
        report.sampled(&sample::here(&names, rounds)?);
    }
    Ok(report)
}

/// Reviews the objects that differ.
fn review(base: &Base, pairs: &[Pair<'_>], changes: &[Change], calls: &Calls) -> Result<Report> {
    let symvers = base.read_text("Module.symvers")?;
    let exports = Exports::parse(&symvers);
    let files = combine::images(base, pairs)?;
    let mut images = BTreeMap::new();
    for (path, bytes) in &files {
        images.insert(*path, Image::parse(bytes)?);
    }
    let mut report = Report::default();
    let mut named = BTreeSet::new();
    for pair in pairs {
        let record = pair.record;
        let environment = Environment {
            module: record.place.module(),
            image: images.get(record.place.image()),
            exports: Some(&exports),
            ..Environment::default()
        };
        let (original, patched) = (fs::read(&pair.original)?, fs::read(&pair.patched)?);
        let original = runtime::plain(Input::Original, &original)?;
        let patched = runtime::plain(Input::Patched, &patched)?;
        let diff = match Diff::new(&original, &patched, &environment) {
            Ok(diff) => diff,
            Err(Error::NothingChanged) => continue,
            Err(error) => {
                let of = |line: &str| format!("{}: {line}", record.object.display());
                report.refused.extend(error.to_string().lines().map(of));
                continue;
            }
        };
        report.notes.extend(diff.notes());
        let place = environment.module.unwrap_or("vmlinux").to_owned();
        let key = (record.source.clone(), place);
        let functions = report.functions.entry(key).or_default();
        for function in of_module(&diff, changes, calls, environment.module.is_none()) {
            named.insert(function.name.clone());
            functions.push(function);
        }
    }
    report.notes.extend(unseen(changes, &named));
    Ok(report)
}

/// Returns the functions that a pair brings into the module.
fn of_module(diff: &Diff<'_>, changes: &[Change], calls: &Calls, in_image: bool) -> Vec<Function> {
    let selection = &diff.selection;
    let mut functions = Vec::new();
    for &id in &selection.included {
        if diff.patched[id].kind != graph::Kind::Function {
            continue;
        }
        let name = diff.patched.name(id);
        if name.starts_with("__pfx_") {
            continue;
        }
        let (why, mut remarks) = match selection.changed.get(&id) {
            Some(difference) => (why(name, difference, changes), Vec::new()),
            None if selection.new.contains(&id) => ("new".to_owned(), Vec::new()),
            None => ("a part of a function that changed".to_owned(), Vec::new()),
        };
        if selection.changed.contains_key(&id) {
            match in_image {
                true => remarks.extend(hindrances(name, calls)),
                false => {
                    remarks.push("what it calls is not looked at: it is in a module".to_owned())
                }
            }
        }
        functions.push(Function {
            name: name.to_owned(),
            why,
            remarks,
        });
    }
    functions
}

/// Returns why a function changes: its own source, what it inlines or uses, or else what the objects
/// say.
fn why(name: &str, difference: &Difference, changes: &[Change]) -> String {
    let key = (Kind::Function, names::origin(name).to_owned());
    let changed: Vec<_> = changes
        .iter()
        .flat_map(|change| outline::changed(&change.before, &change.after, true))
        .collect();
    if changed.contains(&key) {
        return format!("its source changed ({difference})");
    }
    // Follow what it uses, through functions whose source is in the patched files.
    let text = |key: &(Kind, String)| changes.iter().find_map(|change| change.after.get(key));
    let (mut seen, mut todo) = (BTreeSet::from([key.clone()]), vec![(key, Vec::new())]);
    while let Some((at, path)) = todo.pop() {
        let Some(text) = text(&at) else { continue };
        for used in changes.iter().flat_map(|change| change.after.keys()) {
            if seen.contains(used) || !outline::uses(text, &used.1) {
                continue;
            }
            seen.insert(used.clone());
            let path: Vec<&str> = path.iter().copied().chain([&*used.1]).collect();
            if changed.contains(used) {
                let verb = match used.0 {
                    Kind::Function => "inlines",
                    _ => "uses",
                };
                return format!(
                    "{verb} {}, which changed ({difference})",
                    path.join(", which has ")
                );
            }
            todo.push((used.clone(), path));
        }
    }
    format!("its source did not change: {difference}")
}

/// Returns what could hold a transition up, and what stacks do not show.
fn hindrances(name: &str, calls: &Calls) -> Vec<String> {
    let mut remarks = Vec::new();
    let called = calls.called(name);
    if let Some(asks) = LOOP.iter().find(|asks| called.contains(*asks)) {
        remarks.push(format!(
            "asks {asks}(): if it is the main loop of a kernel thread, that thread moves over only \
             after it has left the function"
        ));
    }
    if let Some(path) = calls.path(name, SLEEP, RARE) {
        remarks.push(format!("can sleep: {}", path.join(" > ")));
    }
    let jumped = calls.jumped_to(name);
    if !jumped.is_empty() {
        let names: Vec<_> = jumped.into_iter().collect();
        remarks.push(format!(
            "ends by jumping to {}: stacks do not show it while that runs",
            names.join(", ")
        ));
    }
    remarks
}

/// Returns notes about functions whose source changed and which are not in the module.
fn unseen(changes: &[Change], named: &BTreeSet<String>) -> Vec<String> {
    let is_named = |name: &str| named.iter().any(|own| names::origin(own) == name);
    let mut notes = Vec::new();
    for change in changes {
        for (kind, name) in outline::changed(&change.before, &change.after, false) {
            if kind == Kind::Function && !is_named(&name) {
                notes.push(format!(
                    "{}: the source of {name}() changed, and it is not in the module: it is inlined \
                     everywhere, not compiled, or the compiler made the same of it",
                    change.file.display()
                ));
            }
        }
    }
    notes
}

impl Report {
    /// Fails if something is refused.
    pub fn conclude(&self) -> Result<()> {
        match self.refused.len() {
            0 if self.functions.is_empty() => bail!(Error::NothingChanged),
            0 => Ok(()),
            _ => {
                bail!("no live patch can be made of it; what is refused is above, with what to do")
            }
        }
    }

    /// Returns the names of all functions.
    fn names(&self) -> Vec<String> {
        let all = self.functions.values().flatten();
        all.map(|function| function.name.clone()).collect()
    }

    /// Takes in how often each function was on a stack.
    fn sampled(&mut self, counts: &sample::Counts) {
        for function in self.functions.values_mut().flatten() {
            let count = counts
                .on_stack
                .get(&function.name)
                .copied()
                .unwrap_or_default();
            function.remarks.push(format!(
                "on {count} of {} stacks, in {} looks at all tasks",
                counts.stacks, counts.rounds
            ));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((file, object), functions) in &self.functions {
            writeln!(f, "{}, in {object}", file.display())?;
            for function in functions {
                writeln!(f, "  {}: {}", function.name, function.why)?;
                for remark in &function.remarks {
                    writeln!(f, "      {remark}")?;
                }
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outline::outline;

    const BEFORE: &str = "#define LIMIT 1\nstatic inline int low(int a)\n{\n\treturn a + 1;\n}\n\n\
        static inline int middle(int a)\n{\n\treturn low(a);\n}\n\nint top(int a)\n{\n\treturn middle(a);\n}\n\n\
        int edge(int a)\n{\n\treturn a > LIMIT;\n}\n";

    fn changes(from: &str, to: &str) -> Vec<Change> {
        let after = BEFORE.replace(from, to);
        assert_ne!(after, BEFORE);
        vec![Change {
            file: "a.c".into(),
            is_code: true,
            before: outline(BEFORE),
            after: outline(&after),
        }]
    }

    #[test]
    fn the_reason_is_named() {
        let of = |name: &str, changes: &[Change]| why(name, &Difference::Size, changes);
        let low = changes("a + 1", "a + 2");
        assert_eq!(of("low", &low), "its source changed (its size)");
        assert_eq!(
            of("top.isra.0", &low),
            "inlines middle, which has low, which changed (its size)"
        );
        assert_eq!(of("edge", &low), "its source did not change: its size");
        let limit = changes("LIMIT 1", "LIMIT 2");
        assert_eq!(of("edge", &limit), "uses LIMIT, which changed (its size)");
    }

    #[test]
    fn a_function_that_is_not_in_the_module_is_named() {
        let low = changes("a + 1", "a + 2");
        let notes = unseen(&low, &["top".to_owned()].into());
        assert!(notes.len() == 1 && notes[0].contains("low()"), "{notes:?}");
        assert!(unseen(&low, &["low.constprop.0".to_owned()].into()).is_empty());
    }

    #[test]
    fn a_report_with_a_refusal_is_a_failure() {
        let mut report = Report::default();
        assert!(report.conclude().is_err());
        let function = Function {
            name: "f".into(),
            why: "new".into(),
            remarks: vec!["can sleep: f > schedule".into()],
        };
        report
            .functions
            .insert(("a.c".into(), "vmlinux".into()), vec![function]);
        report.conclude().unwrap();
        let counts = sample::Counts {
            rounds: 2,
            stacks: 9,
            on_stack: [("f".to_owned(), 3)].into(),
        };
        report.sampled(&counts);
        assert_eq!(
            report.to_string(),
            "a.c, in vmlinux\n  f: new\n      can sleep: f > schedule\n      on 3 of 9 stacks, in 2 looks at all tasks\n"
        );
        report.refused.push("a.c: no".into());
        assert!(report.conclude().is_err() && report.to_string().ends_with("refused: a.c: no\n"));
    }
}
