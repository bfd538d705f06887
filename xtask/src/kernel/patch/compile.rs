// SPDX-License-Identifier: GPL-2.0
//! Compiles the objects that change, as Kbuild did, but each function and variable into a section of
//! its own.
//!
//! Each object's recorded command runs again, with another output. For the patched object it also
//! reads from the view in place of the tree. Originals are kept, and used as long as the command and
//! the files that it read are the same.

use crate::kernel::patch::base::Base;
use crate::kernel::patch::record::Record;
use crate::kernel::patch::view::View;
use crate::tools::context::Context;
use crate::tools::place;
use crate::tools::step::Step;
use anyhow::{ensure, Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A section for each function and variable.
const SECTIONS: &str = "-ffunction-sections -fdata-sections";

/// The directory of the originals.
pub const ORIGINALS: &str = "original";

/// An object without and with the patch.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Its record.
    pub record: &'a Record,
    /// The object as it was.
    pub original: PathBuf,
    /// The object with the patch.
    pub patched: PathBuf,
}

/// One run of a compiler.
struct Job {
    name: String,
    command: String,
    /// Where it runs.
    dir: PathBuf,
    output: PathBuf,
}

/// Compiles the objects of these records.
pub fn compile<'a>(
    cx: &Context,
    base: &Base,
    dir: &Path,
    (name, view): (&str, &View),
    records: &'a [Record],
) -> Result<Vec<Pair<'a>>> {
    let (originals, patched) = (dir.join(ORIGINALS), dir.join("patched"));
    place::remove(&patched)?;
    let pair = |record: &'a Record| Pair {
        record,
        original: originals.join(&record.object),
        patched: patched.join(&record.object),
    };
    let pairs: Vec<_> = records.iter().map(pair).collect();
    let mut jobs = Vec::new();
    let mut missing = Vec::new();
    for pair in &pairs {
        let (record, object) = (pair.record, pair.record.object.display());
        let original = Job {
            name: object.to_string(),
            command: command(record, base, None, &pair.original),
            dir: base.out.clone(),
            output: pair.original.clone(),
        };
        if !is_current(&original) {
            missing.push(jobs.len());
            jobs.push(original);
        }
        jobs.push(Job {
            name: format!("{object} (patched)"),
            command: command(record, base, Some(view), &pair.patched),
            // A build in the tree finds its sources from where it runs.
            dir: if base.prefix.is_empty() {
                &view.dir
            } else {
                &base.out
            }
            .clone(),
            output: pair.patched.clone(),
        });
    }
    run(cx, dir, name, &jobs)?;
    for job in missing.iter().filter_map(|&index| jobs.get(index)) {
        let object = job.output.strip_prefix(&originals)?;
        check_age(base, object, &job.read_files()?)?;
        fs::write(stamp_file(&job.output), stamp(job)?).context("cannot note what was compiled")?;
    }
    for job in jobs.iter().filter(|job| job.output.starts_with(&patched)) {
        view.check(&job.read_files()?)?;
    }
    Ok(pairs)
}

/// Runs the jobs, several at a time, under a make of their own.
fn run(cx: &Context, dir: &Path, name: &str, jobs: &[Job]) -> Result<()> {
    let mut text = String::from("pound := \\#\n.PHONY: all\n");
    for (index, job) in jobs.iter().enumerate() {
        let Job {
            name,
            command,
            dir,
            output,
        } = job;
        let parent = output.parent().context("an object is in a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        place::remove(&stamp_file(output))?;
        writeln!(
            text,
            "all: {index}\n.PHONY: {index}\n{index}:\n\t@echo '  CC      {name}'"
        )?;
        writeln!(text, "\t@cd {} ; {command}", dir.display())?;
    }
    let makefile = dir.join("objects.mk");
    fs::write(&makefile, text).with_context(|| format!("cannot write {}", makefile.display()))?;
    let mut make = Command::new("make");
    make.arg(format!("-j{}", cx.jobs))
        .arg("SHELL=/bin/sh")
        .arg(".SHELLFLAGS=-ec")
        .arg("-f");
    make.arg(&makefile)
        .env("LC_ALL", "C")
        .env_remove("MAKEFLAGS");
    let title = format!("Compile without and with {name}");
    Step::new(cx, &title, make)
        .counting(|line| line.starts_with("  CC "))
        .hint("if the patched code is wrong, mend the patch; if the disk is full, free some space")
        .run()?;
    Ok(())
}

/// Returns the command that compiles an object to another place, and from a view if there is one.
fn command(record: &Record, base: &Base, view: Option<&View>, output: &Path) -> String {
    let object = record.object.to_string_lossy();
    let output = output.to_string_lossy();
    let flags = match view {
        Some(view) => format!("{SECTIONS} -I{}", view.headers.display()),
        None => SECTIONS.to_owned(),
    };
    let mut divided = false;
    let words = recorded(&record.command, base).split(' ').map(|word| {
        if word == "-c" && !divided {
            divided = true;
            return format!("{flags} -c");
        }
        if word == object {
            return output.to_string();
        }
        if let Some((option, _)) = word.split_once(',').filter(|_| word.starts_with("-Wp,-M")) {
            return format!("{option},-MMD,{output}.d");
        }
        match view {
            Some(view) => from_view(word, &base.prefix, &view.dir),
            None => word.to_owned(),
        }
    });
    let mut command = words.collect::<Vec<_>>().join(" ");
    if let Some(objtool) = &base.objtool {
        let module = if command.contains(" -DMODULE ") {
            " --module"
        } else {
            ""
        };
        // Writing to a string does not fail.
        let _ = write!(command, " ; {objtool}{module} {output}");
    }
    command
}

/// Returns the part of a recorded command that compiles. Where Kbuild runs objtool later than on each
/// object, it does run it on the only object of a module, but with flags of a link.
fn recorded<'a>(command: &'a str, base: &Base) -> &'a str {
    let program = base
        .objtool
        .as_deref()
        .and_then(|line| line.split_once(' '));
    let objtool = program.and_then(|(program, _)| command.find(&format!("; {program} ")));
    objtool.and_then(|at| command.get(..at)).unwrap_or(command)
}

/// Returns a word of a command with the view in place of the tree.
fn from_view(word: &str, prefix: &str, view: &Path) -> String {
    if prefix.is_empty() {
        return word.to_owned();
    }
    let view = view.display();
    if let Some(option) = word
        .strip_suffix(prefix.trim_end_matches('/'))
        .filter(|option| *option == "-I")
    {
        return format!("{option}{view}");
    }
    match word.find(prefix) {
        // Inside a path it is another directory.
        Some(at) if !word[..at].contains('/') && !word[..at].ends_with('.') => {
            format!("{}{view}/{}", &word[..at], &word[at + prefix.len()..])
        }
        _ => word.to_owned(),
    }
}

impl Job {
    /// Returns the files that the compiler has read.
    fn read_files(&self) -> Result<Vec<PathBuf>> {
        let path = format!("{}.d", self.output.display());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let (_, files) = text
            .split_once(": ")
            .context("the compiler lists no files that it read")?;
        let words = files.split_whitespace().filter(|word| *word != "\\");
        Ok(words.map(|word| self.dir.join(word)).collect())
    }
}

/// Checks that the sources of an object are not newer than the object in the kernel.
fn check_age(base: &Base, object: &Path, files: &[PathBuf]) -> Result<()> {
    let built = modified(&base.out.join(object));
    for file in files {
        // Kbuild tells by other files which options have changed.
        let is_config = file.ends_with("include/generated/autoconf.h");
        ensure!(
            is_config || modified(file) <= built,
            "{} was changed after {} was built\nnext: build the kernel again, or take the change back",
            file.display(),
            object.display()
        );
    }
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

fn stamp_file(output: &Path) -> PathBuf {
    PathBuf::from(format!("{}.stamp", output.display()))
}

/// Whether an original is what its job would make now.
fn is_current(job: &Job) -> bool {
    let noted = fs::read_to_string(stamp_file(&job.output));
    noted.is_ok_and(|noted| stamp(job).is_ok_and(|stamp| stamp == noted))
}

/// Returns all that an original depends on, as text.
fn stamp(job: &Job) -> Result<String> {
    let mut stamp = format!("{}\n", job.command);
    for file in job.read_files()? {
        let age = modified(&file).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        writeln!(
            stamp,
            "{} {:?}",
            file.display(),
            age.map(|age| age.as_nanos())
        )?;
    }
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(word: &str, prefix: &str) -> String {
        from_view(word, prefix, Path::new("/view"))
    }

    #[test]
    fn paths_of_the_tree_lead_to_the_view() {
        for (word, expected) in [
            ("/t/fs/a.c", "/view/fs/a.c"),
            ("-I/t/include", "-I/view/include"),
            ("-I/t", "-I/view"),
            ("-fmacro-prefix-map=/t/=", "-fmacro-prefix-map=/view/="),
            ("-I./include", "-I./include"),
            ("-I/other/t/include", "-I/other/t/include"),
            ("-Ifs/proc", "-Ifs/proc"),
        ] {
            assert_eq!(view(word, "/t/"), expected);
        }
        assert_eq!(view("-I../include", "../"), "-I/view/include");
        assert_eq!(view("../fs/../a.c", "../"), "/view/fs/../a.c");
        assert_eq!(view("fs/../a.c", "../"), "fs/../a.c");
        assert_eq!(view("fs/a.c", ""), "fs/a.c");
    }
}
