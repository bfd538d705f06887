// SPDX-License-Identifier: GPL-2.0
//! What a transition waits for: the file in debugfs that the Rust core has for each patch.
//!
//! `Documentation/livepatch/rust/why.rst` defines the format, which is YAML.

use super::System;
use serde::Serialize;
use std::fs;
use yaml_rust2::{Yaml, YamlLoader};

/// Where the reports are.
pub const DIRECTORY: &str = "sys/kernel/debug/livepatch";

/// How far a transition has come, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// `core` if the core said it, or `proc` if it was found out from `/proc`.
    pub source: &'static str,
    /// Seconds since the transition began or was turned round.
    pub seconds: Option<f64>,
    /// Attempts to end it.
    pub attempts: Option<u64>,
    /// Rounds of signals.
    pub signals: Option<u64>,
    /// Number of tasks that have not moved. `None` if the caller may not know.
    pub left: Option<u64>,
    /// Some of these tasks.
    pub blockers: Vec<Blocker>,
    /// Number of those that are not listed.
    pub more: u64,
}

/// A task that has not moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// The process.
    pub pid: u32,
    /// The task.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Whether it is a kernel thread.
    pub kthread: bool,
    /// `running`, `asleep`, `unreliable`, `unchecked`, `ready`, or `unknown`.
    pub reason: String,
    /// The CPU that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The function that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The object of that function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Where it sleeps, if its stack trace is not reliable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Its stack, if it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
}

impl Blocker {
    /// Says who it is.
    pub fn who(&self) -> String {
        let comm = self.comm.escape_debug();
        match self.kthread {
            true => format!("kthread {comm} ({})", self.tid),
            false => format!("{comm} ({})", self.tid),
        }
    }

    /// Says what keeps it.
    pub fn why(&self) -> String {
        let function = self.function.as_deref().unwrap_or("?");
        match self.reason.as_str() {
            "asleep" => match self.object.as_deref() {
                None | Some("vmlinux") => format!("sleeps in {function}"),
                Some(object) => format!("sleeps in {function} [{object}]"),
            },
            "running" => match self.cpu {
                Some(cpu) => format!("runs on CPU {cpu}"),
                None => "runs".into(),
            },
            "unreliable" => {
                let at = self.at.as_deref().unwrap_or("?");
                format!("its stack can't be trusted, at {at}")
            }
            "unchecked" => "no reliable stacks on this architecture".into(),
            "ready" => "nothing; the next attempt moves it".into(),
            _ => "unknown; the C core does not say".into(),
        }
    }

    /// Says what moves it, in the words of an administrator.
    pub fn remedy(&self) -> &'static str {
        match (self.reason.as_str(), self.kthread) {
            ("asleep", true) => "it moves when what it sleeps for happens",
            ("asleep", false) => {
                "signals wake it if they can; else let it finish, or stop the program"
            }
            ("running", true) => "it moves when it sleeps; reduce its work",
            ("running", false) => "it moves when it enters or leaves the kernel",
            ("unreliable", _) => "it moves when it wakes and leaves that code",
            ("unchecked", true) => "it may never move; consider unload",
            ("unchecked", false) => "it moves when it leaves the kernel; signals make it do so",
            _ => "wait",
        }
    }
}

impl System {
    /// Returns the core's own report on a live patch, if it has one.
    pub fn report(&self, patch: &str) -> Option<Progress> {
        let bytes = fs::read(self.path(DIRECTORY).join(patch)).ok()?;
        parse(&String::from_utf8_lossy(&bytes))
    }
}

/// Parses a report. Returns `None` if it is not in the format.
fn parse(text: &str) -> Option<Progress> {
    let documents = YamlLoader::load_from_str(text).ok()?;
    let report = documents.first()?;
    let number = |key: &str| {
        report[key]
            .as_i64()
            .and_then(|number| number.try_into().ok())
    };
    Some(Progress {
        source: "core",
        seconds: report["seconds"].as_f64(),
        attempts: number("attempts"),
        signals: number("signals"),
        left: Some(number("left")?),
        blockers: report["blockers"].as_vec()?.iter().map(blocker).collect(),
        more: number("more")?,
    })
}

fn blocker(entry: &Yaml) -> Blocker {
    let number = |key: &str| {
        entry[key]
            .as_i64()
            .and_then(|number| number.try_into().ok())
    };
    let text = |key: &str| entry[key].as_str().map(unescape);
    Blocker {
        pid: number("pid").unwrap_or_default(),
        tid: number("tid").unwrap_or_default(),
        comm: text("comm").unwrap_or_default(),
        kthread: entry["kthread"].as_bool().unwrap_or_default(),
        reason: text("reason").unwrap_or_default(),
        cpu: number("cpu"),
        function: text("function"),
        object: text("object"),
        at: text("at"),
        stack: Vec::new(),
    }
}

/// Returns the text that was escaped. The core writes a byte as `\xNN`, which YAML takes for the
/// character of that number.
fn unescape(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"patch: "livepatch_sample"
transition: patching
seconds: 12.045
attempts: 18
signals: 8
moved: {attempt: 38, exit: 3, idle: 1, scheduler: 0, stopper: 0, force: 0, forks: 0}
left: 3
blockers:
  - {pid: 8, tid: 9, comm: "s\"h: {\xc3\xa4\x0a", kthread: false, reason: asleep, function: "f", object: "m"}
  - {pid: 90, tid: 90, comm: "123", kthread: true, reason: running, cpu: 1}
  - {pid: 91, tid: 91, comm: "null", kthread: false, reason: unreliable, at: "g+0x5b/0xa0 [m]"}
more: 2
last: null
"#;

    #[test]
    fn a_report_is_read_whatever_a_task_is_called() {
        let progress = parse(REPORT).unwrap();
        assert_eq!((progress.left, progress.more), (Some(3), 2));
        assert_eq!(progress.seconds, Some(12.045));
        let names: Vec<_> = progress.blockers.iter().map(|own| &*own.comm).collect();
        assert_eq!(names, ["s\"h: {ä\n", "123", "null"]);
        let why: Vec<_> = progress.blockers.iter().map(Blocker::why).collect();
        assert_eq!(
            why,
            [
                "sleeps in f [m]",
                "runs on CPU 1",
                "its stack can't be trusted, at g+0x5b/0xa0 [m]"
            ]
        );
        assert_eq!(progress.blockers[0].who(), "s\\\"h: {ä\\n (9)");
        assert_eq!(progress.blockers[1].who(), "kthread 123 (90)");
    }

    #[test]
    fn a_whole_number_of_seconds_and_no_blockers_are_read() {
        let text = REPORT.replace("12.045", "0.000");
        let (head, tail) = text.split_once("blockers:\n").unwrap();
        let tail = &tail[tail.find("more").unwrap()..];
        let progress = parse(&format!("{head}blockers: []\n{tail}")).unwrap();
        assert_eq!(progress.seconds, Some(0.0));
        assert_eq!(progress.blockers, []);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for text in ["", "left: x\n", "left: 1\n", "{", "a: b: c"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
