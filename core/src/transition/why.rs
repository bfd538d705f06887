// SPDX-License-Identifier: GPL-2.0

//! Why is it waiting: the state of a patch's transition, and what keeps it from ending, as YAML.
//!
//! ```text
//! patch: "livepatch_sample"
//! transition: patching
//! seconds: 12.345
//! attempts: 18
//! signals: 8
//! moved: {attempt: 38, exit: 3, idle: 1, scheduler: 0, stopper: 0, force: 0, forks: 0}
//! left: 2
//! blockers:
//!   - {pid: 8, tid: 8, comm: "sh", kthread: false, reason: asleep, function: "f", object: "m"}
//!   - {pid: 90, tid: 90, comm: "spin", kthread: true, reason: running, cpu: 1}
//! more: 0
//! last: null
//! ```
//!
//! `moved` has the number of tasks that have moved by each way ([`Way`]), and of children that were
//! forked by tasks that had not moved. It needs the counts of `trace.rs`. Without, all are 0.
//!
//! All keys are always there, in this order. What comes from outside is in quotation marks and
//! escaped.
//!
//! The C core has no counterpart.

// Without the file in debugfs nothing asks for a report.
#![cfg_attr(all(CONFIG_LIVEPATCH, not(CONFIG_LIVEPATCH_WHY)), allow(dead_code))]

use super::{
    super::{
        patch::Patch,
        registry::Core,
        symbol::Name,
        Kernel, //
    },
    blockers::{
        names,
        Blocker,
        Blockers,
        Escaped,
        Reason,
        Symbol, //
    },
    Counts,
    Direction,
    Transition,
    Way,
    SECOND, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// How many blockers a report lists. It gives the number of the others.
const MOST_BLOCKERS: usize = 64;

/// How far a transition has come, or had come when it ended. All of it counts from the start of the
/// transition, or from its last reversal.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    direction: Direction,
    /// The time in milliseconds.
    took: u64,
    attempts: u64,
    /// The number of rounds of signals.
    signals: u64,
}

impl Progress {
    /// Returns how far `transition` has come.
    pub(super) fn of<K: Kernel>(kernel: &K, transition: &Transition<K>) -> Self {
        Self {
            direction: transition.direction,
            took: transition.pace.waited(kernel),
            attempts: transition.attempts,
            signals: transition.pace.rounds(),
        }
    }
}

/// The report on one patch. It prints as YAML.
pub struct Report<'a, K: Kernel> {
    kernel: &'a K,
    name: &'a Name,
    /// The patch, if it is enabled or in transition.
    patch: Option<&'a Patch<K>>,
    /// Its transition.
    progress: Option<Progress>,
    blockers: Blockers,
}

impl<K: Kernel> Core<K> {
    /// Reports on `patch`, whose name is `name`. Looks at tasks and moves none of them. A patch
    /// that is not listed is in no transition.
    pub fn why<'a>(&'a self, kernel: &'a K, patch: K::PatchId, name: &'a Name) -> Report<'a, K> {
        let patch = self.find(patch);
        let transition = patch.and_then(|own| own.transition.as_ref());
        Report {
            kernel,
            name,
            patch,
            progress: transition.map(|own| Progress::of(kernel, own)),
            blockers: Blockers::find(kernel, transition, MOST_BLOCKERS),
        }
    }
}

/// Writes how many tasks have moved by each way.
fn write_moves(f: &mut fmt::Formatter<'_>, counts: Option<&Counts>) -> fmt::Result {
    f.write_str("{")?;
    for way in Way::ALL {
        let moves = counts.map_or(0, |counts| counts.moves(way));
        f.write_fmt(fmt!("{}: {}, ", way.text(), moves))?;
    }
    f.write_fmt(fmt!("forks: {}}}", counts.map_or(0, Counts::forks)))
}

impl<K: Kernel> Report<'_, K> {
    fn blocker(&self, f: &mut fmt::Formatter<'_>, blocker: &Blocker) -> fmt::Result {
        let Blocker { task, reason } = blocker;
        f.write_fmt(fmt!(
            "  - {{pid: {}, tid: {}, comm: \"{}\", kthread: {}, reason: ",
            task.process,
            task.thread,
            Escaped(task.name()),
            task.kthread
        ))?;
        match *reason {
            Reason::Running(cpu) => f.write_fmt(fmt!("running, cpu: {}", cpu)),
            Reason::Asleep(number) => {
                let (function, object) = match self.patch {
                    Some(patch) => names(patch, number),
                    None => (&b"?"[..], &b"?"[..]),
                };
                f.write_fmt(fmt!(
                    "asleep, function: \"{}\", object: \"{}\"",
                    Escaped(function),
                    Escaped(object)
                ))
            }
            Reason::Unreliable(address) => {
                f.write_fmt(fmt!("unreliable, at: \"{}\"", Symbol(self.kernel, address)))
            }
            Reason::Unchecked => f.write_str("unchecked"),
            Reason::Ready => f.write_str("ready"),
        }?;
        f.write_str("}\n")
    }
}

impl<K: Kernel> fmt::Display for Report<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = Progress {
            direction: Direction::Patching,
            took: 0,
            attempts: 0,
            signals: 0,
        };
        let progress = self.progress.unwrap_or(none);
        let verb = self.progress.map_or("none", |own| own.direction.verb());
        f.write_fmt(fmt!(
            "patch: \"{}\"\ntransition: {}\nseconds: {}.{:03}\nattempts: {}\nsignals: {}\n",
            Escaped(self.name.as_bytes()),
            verb,
            progress.took / SECOND,
            progress.took % SECOND,
            progress.attempts,
            progress.signals
        ))?;
        let counts = self.patch.and_then(|own| own.current_counts(self.kernel));
        f.write_str("moved: ")?;
        write_moves(f, counts.as_ref())?;
        let blockers = &self.blockers;
        f.write_fmt(fmt!("\nleft: {}\n", blockers.left))?;
        if blockers.list.is_empty() {
            f.write_str("blockers: []\n")?;
        } else {
            f.write_str("blockers:\n")?;
        }
        for blocker in &blockers.list {
            self.blocker(f, blocker)?;
        }
        f.write_fmt(fmt!("more: {}\n", blockers.more()))?;
        let Some((patch, last)) = self.patch.and_then(|own| Some((own, own.last?))) else {
            return f.write_str("last: null\n");
        };
        f.write_fmt(fmt!(
            "last: {{transition: {}, milliseconds: {}, attempts: {}, signals: {}, moved: ",
            last.direction.verb(),
            last.took,
            last.attempts,
            last.signals
        ))?;
        write_moves(f, patch.last_counts())?;
        f.write_str("}\n")
    }
}
