// SPDX-License-Identifier: GPL-2.0
//! Runs compilers, several at a time, and keeps what they make.
//!
//! A product appears whole: it is made under another name. As soon as it is there, a stamp beside it
//! notes all that it depends on. A product without the right stamp is made again, so a run that ends
//! early loses only what it was about.

use crate::view::View;
use anyhow::{Context as _, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use steps::place;
use steps::step::Step;
use steps::workplace::Workplace;

/// One run of a compiler.
#[derive(Debug)]
pub struct Job<'a> {
    /// What the log calls it, unlike all others.
    pub name: String,
    /// The command, as make reads it. It writes the product to [`unfinished`], and the list of what it
    /// has read beside that.
    pub command: String,
    /// Where it runs.
    pub dir: PathBuf,
    /// The product.
    pub output: PathBuf,
    /// The tree with the patch, if it reads that.
    pub view: Option<&'a View>,
}

/// When files were changed. Each is looked at once.
#[derive(Debug, Default)]
pub struct Ages(RefCell<HashMap<PathBuf, Option<SystemTime>>>);

impl Ages {
    /// Returns when a file was changed, if it is there.
    pub fn of(&self, path: &Path) -> Option<SystemTime> {
        if let Some(&age) = self.0.borrow().get(path) {
            return age;
        }
        let age = path.metadata().and_then(|meta| meta.modified()).ok();
        self.0.borrow_mut().insert(path.to_owned(), age);
        age
    }
}

impl Job<'_> {
    /// Returns the files that the compiler has read.
    pub fn read_files(&self) -> Result<Vec<PathBuf>> {
        let path = beside(&self.output, ".d");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (_, rest) = text
            .split_once(": ")
            .context("the compiler lists no files that it read")?;
        // rustc adds a rule for each file.
        let end = rest
            .match_indices('\n')
            .find(|(at, _)| !rest[..*at].ends_with('\\'));
        let files = end.map_or(rest, |(at, _)| &rest[..at]);
        let words = files.split_whitespace().filter(|word| *word != "\\");
        Ok(words.map(|word| self.dir.join(word)).collect())
    }

    /// Whether its product is there, and is what it would make now.
    pub fn is_done(&self, ages: &Ages) -> bool {
        let noted = fs::read_to_string(beside(&self.output, ".stamp"));
        self.output.exists()
            && noted.is_ok_and(|noted| self.stamp(ages).is_ok_and(|stamp| stamp == noted))
    }

    /// Notes what the product depends on.
    fn keep(&self, ages: &Ages) -> Result<()> {
        fs::write(beside(&self.output, ".stamp"), self.stamp(ages)?)
            .context("cannot note what was compiled")
    }

    /// Returns all that the product depends on, as text. A patched file is known by its content, so
    /// that a product of one patch serves every other that makes the same of its files.
    fn stamp(&self, ages: &Ages) -> Result<String> {
        let mut stamp = format!("{}\n", self.command);
        for file in self.read_files()? {
            if let Some(hash) = self.view.and_then(|view| view.content(&file)) {
                writeln!(stamp, "{} {hash}", file.display())?;
                continue;
            }
            let file = match self.view {
                Some(view) => view.origin(&file),
                None => file,
            };
            let age = ages.of(&file);
            let age = age.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            let age = age.map(|age| age.as_nanos());
            writeln!(stamp, "{} {age:?}", file.display())?;
        }
        Ok(stamp)
    }

    /// Removes what an earlier run has left.
    fn clear(&self) -> Result<()> {
        let begun = unfinished(&self.output);
        for end in ["", ".d", ".i", ".text"] {
            place::remove(&beside(&begun, end))?;
        }
        for end in [".stamp", ".d", ""] {
            place::remove(&beside(&self.output, end))?;
        }
        Ok(())
    }
}

/// Runs the jobs under a make of their own. Each is kept once `check` has passed it.
///
/// If one fails, those that were done before it are kept, and nothing is left of the others.
pub fn run(
    work: &Workplace,
    dir: &Path,
    title: &str,
    jobs: &[Job<'_>],
    ages: &Ages,
    check: impl Fn(&Job<'_>) -> Result<()>,
) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut text = String::from("pound := \\#\n.PHONY: all\n");
    let mut named = HashMap::new();
    for job in jobs {
        let Job { name, output, .. } = job;
        let parent = output.parent().context("an object is in a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        job.clear()?;
        let (begun, output) = (unfinished(output), output.display());
        writeln!(text, "all: {name}\n.PHONY: {name}\n{name}:")?;
        writeln!(
            text,
            "\t@cd {} ; {} ; mv -f {begun}.d {output}.d ; mv -f {begun} {output}",
            job.dir.display(),
            job.command,
            begun = begun.display()
        )?;
        writeln!(text, "\t@echo '{DONE}{name}'")?;
        named.insert(&**name, job);
    }
    let makefile = dir.join("objects.mk");
    fs::write(&makefile, text).with_context(|| format!("cannot write {}", makefile.display()))?;
    let mut make = Command::new("make");
    make.arg(format!("-j{}", work.jobs))
        .arg("SHELL=/bin/sh")
        .arg(".SHELLFLAGS=-ec")
        .arg("-f");
    make.arg(&makefile)
        .env("LC_ALL", "C")
        .env_remove("MAKEFLAGS");
    let ran = Step::new(work, title, make)
        .counting(|line| line.starts_with(DONE))
        .of(jobs.len())
        .each(|line| {
            let job = line.strip_prefix(DONE).and_then(|name| named.get(name));
            job.map_or(Ok(()), |job| check(job).and_then(|()| job.keep(ages)))
        })
        .hint("if the patched code is wrong, mend the patch; what was compiled is kept")
        .run();
    if ran.is_err() {
        for job in jobs.iter().filter(|job| !job.is_done(ages)) {
            // Report the original failure: the next run clears again.
            let _ = job.clear();
        }
    }
    ran.map(drop)
}

/// What make prints before the name of a finished job.
const DONE: &str = "  CC      ";

/// Returns the name of a product while it is made.
pub fn unfinished(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".new-{name}"))
}

fn beside(output: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", output.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a job that copies a file, as a compiler would, and notes that it ran.
    fn job(dir: &Path, name: &str, command: &str) -> Job<'static> {
        let output = dir.join("made").join(name);
        let begun = unfinished(&output);
        let begun = begun.display();
        Job {
            name: name.to_owned(),
            command: format!(
                "echo '{name}: source' >{begun}.d ; echo {name} >>ran ; {command} >{begun}"
            ),
            dir: dir.to_owned(),
            output,
            view: None,
        }
    }

    fn go(work: &Workplace, dir: &Path, all: Vec<Job<'static>>) -> Result<()> {
        let ages = Ages::default();
        let jobs: Vec<_> = all.into_iter().filter(|job| !job.is_done(&ages)).collect();
        run(work, dir, "Compile some", &jobs, &ages, |_| Ok(()))
    }

    fn setup() -> (tempfile::TempDir, Workplace, PathBuf) {
        let (dir, work) = Workplace::for_test().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("source"), "one\n").unwrap();
        (dir, work, top)
    }

    /// Returns the names of all files that were made.
    fn made(top: &Path) -> Vec<String> {
        let entries = fs::read_dir(top.join("made")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_that_fails_keeps_what_was_made_and_the_next_goes_on() {
        let (_dir, work, top) = setup();
        let all = |last: &str| vec![job(&top, "a", "cat source"), job(&top, "b", last)];
        go(&work, &top, all("cat source ; false")).unwrap_err();
        assert_eq!(made(&top), ["a", "a.d", "a.stamp"]);
        go(&work, &top, all("cat source")).unwrap();
        go(&work, &top, all("cat source")).unwrap();
        let ran = || fs::read_to_string(top.join("ran")).unwrap();
        assert_eq!(ran(), "a\nb\nb\n");
        // A command, a source, or a product that is gone: each is a reason to run again.
        go(&work, &top, all("cat source source")).unwrap();
        fs::remove_file(top.join("made/a")).unwrap();
        go(&work, &top, all("cat source source")).unwrap();
        assert_eq!(ran(), "a\nb\nb\nb\na\n");
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        let source = fs::File::options().write(true).open(top.join("source"));
        source.unwrap().set_modified(later).unwrap();
        go(&work, &top, all("cat source source")).unwrap();
        assert_eq!(ran(), "a\nb\nb\nb\na\na\nb\n");
    }

    #[test]
    fn what_a_killed_run_left_is_not_used() {
        let (_dir, work, top) = setup();
        let all = || vec![job(&top, "a", "cat source")];
        fs::create_dir(top.join("made")).unwrap();
        for file in ["a", "a.d", ".new-a", ".new-a.d"] {
            fs::write(top.join("made").join(file), "half: source\n").unwrap();
        }
        go(&work, &top, all()).unwrap();
        assert_eq!(fs::read_to_string(top.join("made/a")).unwrap(), "one\n");
        assert_eq!(made(&top), ["a", "a.d", "a.stamp"]);
    }

    #[test]
    fn a_full_disk_leaves_nothing_half_made() {
        let (_dir, work, top) = setup();
        let all = vec![
            job(&top, "a", "cat source"),
            job(&top, "b", "cat source >/dev/full ; true"),
        ];
        let error = go(&work, &top, all).unwrap_err().to_string();
        assert!(
            error.contains("No space left") && error.contains("next: the disk is full"),
            "{error}"
        );
        assert_eq!(made(&top), ["a", "a.d", "a.stamp"]);
    }

    #[test]
    fn what_the_check_refuses_is_not_kept() {
        let (_dir, work, top) = setup();
        let jobs = [job(&top, "a", "cat source")];
        let refuse = |_: &Job<'_>| anyhow::bail!("too new");
        let error = run(&work, &top, "Compile some", &jobs, &Ages::default(), refuse);
        assert_eq!(error.unwrap_err().to_string(), "too new");
        assert_eq!(made(&top).len(), 0);
    }
}
