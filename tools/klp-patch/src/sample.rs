// SPDX-License-Identifier: GPL-2.0
//! How often functions are on the stacks of a running system.

use anyhow::{ensure, Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Default)]
pub struct Counts {
    /// How often all tasks were looked at.
    pub rounds: u32,
    /// How many stacks were read.
    pub stacks: usize,
    /// On how many of them each function was.
    pub on_stack: BTreeMap<String, usize>,
}

/// Looks at the stacks of all tasks of this system, so many times.
pub fn here(names: &[String], rounds: u32) -> Result<Counts> {
    let mut counts = Counts::default();
    for _ in 0..rounds {
        round(Path::new("/proc"), names, &mut counts)?;
        thread::sleep(PAUSE);
    }
    ensure!(
        counts.stacks > 0,
        "no stack can be read in /proc; next: run this as root, on a kernel with CONFIG_STACKTRACE"
    );
    Ok(counts)
}

/// Reads the stack of each task once.
fn round(proc: &Path, names: &[String], counts: &mut Counts) -> Result<()> {
    counts.rounds += 1;
    let cannot = || format!("cannot read {}", proc.display());
    for process in fs::read_dir(proc).with_context(cannot)? {
        let tasks = process.with_context(cannot)?.path().join("task");
        // It may be no process, or be gone.
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            if let Ok(stack) = fs::read_to_string(task.path().join("stack")) {
                counts.take(&stack, names);
            }
        }
    }
    Ok(())
}

impl Counts {
    /// Takes in a stack: lines of `[<0>] name+offset/size`.
    fn take(&mut self, stack: &str, names: &[String]) {
        self.stacks += 1;
        let function = |line: &str| {
            let place = line.split_whitespace().nth(1)?;
            Some(place.split('+').next()?.to_owned())
        };
        let mut on_it: Vec<String> = stack.lines().filter_map(function).collect();
        on_it.sort();
        on_it.dedup();
        for name in on_it.into_iter().filter(|name| names.contains(name)) {
            *self.on_stack.entry(name).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_counts_once_on_each_stack() {
        let dir = tempfile::tempdir().unwrap();
        for (task, stack) in [
            (
                "1/task/1",
                "[<0>] f+0x1/0x2\n[<0>] g+0x1/0x2\n[<0>] f+0x1/0x2\n",
            ),
            ("1/task/2", "[<0>] g+0x1/0x2\n"),
            ("self/fd", ""),
        ] {
            let task = dir.path().join(task);
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("stack"), stack).unwrap();
        }
        let mut counts = Counts::default();
        for _ in 0..2 {
            round(dir.path(), &["f".into(), "h".into()], &mut counts).unwrap();
        }
        assert_eq!((counts.rounds, counts.stacks), (2, 4));
        assert_eq!(counts.on_stack, [("f".to_owned(), 2)].into());
    }
}
