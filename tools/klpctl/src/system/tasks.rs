// SPDX-License-Identifier: GPL-2.0
//! The tasks in `/proc`, for a core that does not say what it waits for.

use super::patches::{Patch, State};
use super::report::{Blocker, Progress};
use super::{entries, System};
use std::fs;
use std::io;

/// The number of blockers that are listed, as in the core's own report.
const MOST_BLOCKERS: usize = 64;

/// The flag of a kernel thread in the ninth field of `/proc/<pid>/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

impl System {
    /// Finds out which tasks have not moved, from the tasks' own files.
    pub fn progress_from_tasks(&self, patch: &Patch) -> Progress {
        let target = match patch.state {
            State::Patching => "1",
            State::Unpatching => "0",
            _ => return nothing(),
        };
        let (mut progress, mut left) = (nothing(), 0);
        for (pid, tid) in self.tasks() {
            let path = self.path(format!("proc/{pid}/task/{tid}/patch_state"));
            match fs::read_to_string(path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return nothing(),
                // A task that is gone has moved.
                Err(_) => continue,
                Ok(state) if state.trim() == target => continue,
                Ok(_) => {}
            }
            left += 1;
            if progress.blockers.len() < MOST_BLOCKERS {
                progress.blockers.extend(self.blocker(pid, tid, patch));
            }
        }
        progress.more = left - progress.blockers.len() as u64;
        progress.left = Some(left);
        progress
    }

    fn tasks(&self) -> Vec<(u32, u32)> {
        let numbers = |path: &str| {
            let names = entries(&self.path(path)).into_iter();
            names.filter_map(|name| name.parse::<u32>().ok())
        };
        let mut tasks: Vec<_> = numbers("proc")
            .flat_map(|pid| numbers(&format!("proc/{pid}/task")).map(move |tid| (pid, tid)))
            .collect();
        tasks.sort_unstable();
        tasks
    }

    /// Returns the stack of a task, a function in each line. It is empty if it can't be read.
    pub fn stack(&self, blocker: &Blocker) -> Vec<String> {
        let path = format!("proc/{}/task/{}/stack", blocker.pid, blocker.tid);
        let text = self.text(path).unwrap_or_default();
        let lines = text.lines().map(|line| {
            let entry = line.split_once("] ").map_or(line, |(_, entry)| entry);
            entry.trim().to_owned()
        });
        lines.collect()
    }

    fn blocker(&self, pid: u32, tid: u32, patch: &Patch) -> Option<Blocker> {
        let stat = self.text(format!("proc/{pid}/task/{tid}/stat"))?;
        // The name is in parentheses, and may have some itself.
        let (comm, rest) = (stat.find('(')? + 1, stat.rfind(')')?);
        let fields: Vec<_> = stat.get(rest + 1..)?.split_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let mut blocker = Blocker {
            pid,
            tid,
            comm: stat.get(comm..rest)?.to_owned(),
            kthread: number(6).unwrap_or_default() & PF_KTHREAD != 0,
            reason: "unknown".into(),
            ..Blocker::default()
        };
        let stack = self.stack(&blocker);
        if fields.first() == Some(&"R") {
            blocker.reason = "running".into();
            blocker.cpu = number(36).and_then(|cpu| cpu.try_into().ok());
        } else if let Some((function, object)) = inside(&stack, patch) {
            blocker.reason = "asleep".into();
            blocker.function = Some(function);
            blocker.object = Some(object);
        }
        Some(blocker)
    }
}

fn nothing() -> Progress {
    Progress {
        source: "proc",
        ..Progress::default()
    }
}

/// Returns the first function on a stack that a patch changes, and its object.
fn inside(stack: &[String], patch: &Patch) -> Option<(String, String)> {
    stack.iter().find_map(|entry| {
        let (name, rest) = entry.split_once('+')?;
        let module = rest
            .split_once('[')
            .map(|(_, rest)| rest.trim_end_matches(']'));
        let object = module.unwrap_or("vmlinux");
        let own = patch.objects.iter().find(|own| own.name == object)?;
        let changes = |function: &String| function.split(',').next() == Some(name);
        own.functions
            .iter()
            .any(changes)
            .then(|| (name.to_owned(), object.to_owned()))
    })
}
