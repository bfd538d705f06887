// SPDX-License-Identifier: GPL-2.0
//! Runs one external program that may take long.
//!
//! The program writes straight to its log, and progress is read back from there. So the log is
//! complete whatever happens to the program, which never waits for a grandchild that keeps the output
//! open.

use crate::place;
use crate::workplace::Workplace;
use anyhow::{bail, Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a step may take by default. A step that still makes progress takes less time.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// How often the child and its log are checked.
const TICK: Duration = Duration::from_millis(100);

/// How often a sign of life is printed without a terminal, or while other work has the terminal.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// The exit status of `setpriv` and `nice` if the program is not there.
const NOT_THERE: i32 = 127;

/// How many lines from the end of the log a failure shows.
const TAIL_LINES: usize = 30;

/// How many lines from the first error in the log a failure shows.
const ERROR_LINES: usize = 20;

/// One run of an external program.
pub struct Step<'a> {
    cx: &'a Workplace,
    title: &'a str,
    command: Command,
    deadline: Duration,
    counts: Option<fn(&str) -> bool>,
    total: Option<usize>,
    each: Option<Each<'a>>,
    hint: Option<&'a str>,
    expected: bool,
}

/// What takes each line of a program's output.
type Each<'a> = Box<dyn FnMut(&str) -> Result<()> + 'a>;

impl<'a> Step<'a> {
    /// Creates a step that has this title and runs this program.
    pub fn new(cx: &'a Workplace, title: &'a str, command: impl Into<Command>) -> Self {
        Self {
            cx,
            title,
            command: command.into(),
            deadline: DEADLINE,
            counts: None,
            total: None,
            each: None,
            hint: None,
            expected: true,
        }
    }

    /// Ends the program if it runs longer than this.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Shows how many lines of the output satisfy `counts`, as progress.
    pub fn counting(mut self, counts: fn(&str) -> bool) -> Self {
        self.counts = Some(counts);
        self
    }

    /// Shows how many of these lines there will be.
    pub fn of(mut self, total: usize) -> Self {
        self.total = Some(total);
        self
    }

    /// Gives each line of the output to `each`, soon after it was written. An error ends the program.
    pub fn each(mut self, each: impl FnMut(&str) -> Result<()> + 'a) -> Self {
        self.each = Some(Box::new(each));
        self
    }

    /// Tells the user what to do next if the program fails for another reason than a full disk.
    pub fn hint(mut self, hint: &'a str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Expects the program to fail.
    pub fn expecting_failure(mut self) -> Self {
        self.expected = false;
        self
    }

    /// Returns the path that its log will have.
    pub fn log(&self) -> PathBuf {
        self.cx.logs().join(format!("{}.log", slug(self.title)))
    }

    /// Runs the program. Returns the path of its log.
    pub fn run(mut self) -> Result<PathBuf> {
        let path = self.log();
        let log = File::create(&path)
            .with_context(|| format!("cannot write the log {}", path.display()))?;
        let start = Instant::now();
        let program = self.command.get_program().to_string_lossy().into_owned();
        let child = accompanied(&self.command, self.cx.background)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context(
                "cannot run `setpriv`: install it; `cargo xtask doctor` lists all that is needed",
            )?;
        let mut progress = Progress {
            total: self.total,
            each: self.each.take(),
            ..Progress::new(self.cx, self.title, &path, self.counts)?
        };
        let outcome = watch(child, self.deadline, &mut progress);
        progress.finish(
            start.elapsed(),
            matches!(&outcome, Ok(Some(status)) if status.success() == self.expected),
        );
        match outcome? {
            Some(status) if status.success() == self.expected => Ok(path),
            Some(status) if status.success() => {
                self.fail(&format!("`{program}` did not fail"), &path)
            }
            Some(status) if status.code() == Some(NOT_THERE) => self.fail(
                &format!("cannot run `{program}`: install it; `cargo xtask doctor` lists all that is needed"),
                &path,
            ),
            Some(status) => self.fail(&format!("`{program}` failed ({status})"), &path),
            None => {
                let cause = format!("`{program}` still ran after {} s", self.deadline.as_secs());
                self.fail(&cause, &path)
            }
        }
    }

    fn fail(&self, cause: &str, log: &Path) -> Result<PathBuf> {
        let tail = tail(log);
        // Some programs do not tell why they can't write.
        let is_full = is_full(log) || place::room(&self.cx.cache, 1 << 20, "more").is_err();
        let full = is_full.then_some(place::FULL);
        let hint = full
            .or(self.hint)
            .map_or(String::new(), |hint| format!("\nnext: {hint}"));
        bail!(
            "{}: {cause}\n{tail}full log: {}{hint}",
            self.title,
            log.display()
        )
    }
}

/// Wraps a command so that it ends when this program ends for any reason. `make` passes the signal on to
/// its children, so no build goes on in a directory that another run may take over. In the
/// background the command runs under `nice`.
fn accompanied(command: &Command, background: bool) -> Command {
    let mut accompanied = Command::new("setpriv");
    accompanied.args(["--pdeathsig", "TERM", "--"]);
    if background {
        accompanied.arg("nice");
    }
    accompanied
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => accompanied.env(name, value),
            None => accompanied.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        accompanied.current_dir(dir);
    }
    accompanied
}

/// Runs a program as a step with default settings.
pub fn run(cx: &Workplace, title: &str, command: impl Into<Command>) -> Result<()> {
    Step::new(cx, title, command).run().map(drop)
}

/// Runs work of the program itself that may take a while, and reports its start and end.
pub fn work<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    eprintln!("{title} ...");
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "failed" };
    eprintln!(
        "{title}: {verdict} in {:.1} s",
        start.elapsed().as_secs_f32()
    );
    result
}

/// Waits for the child. Returns `None` if it had to be ended.
fn watch(
    mut child: Child,
    deadline: Duration,
    progress: &mut Progress<'_>,
) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let status = child.try_wait()?;
        if let Err(error) = progress.update() {
            end(&mut child)?;
            return Err(error);
        }
        if status.is_some() {
            return Ok(status);
        }
        if start.elapsed() >= deadline {
            end(&mut child)?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

/// Asks the child to end, which also lets `make` end its own children. Kills the child if it does
/// not end.
fn end(child: &mut Child) -> Result<()> {
    use rustix::process::{kill_process, Pid, Signal};
    // A pid that no longer exists is no error: the child is reaped below either way.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    for _ in 0..50 {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// What the user sees while a step runs.
struct Progress<'a> {
    title: String,
    log: File,
    partial: String,
    lines: u64,
    counts: Option<fn(&str) -> bool>,
    total: Option<usize>,
    each: Option<Each<'a>>,
    bar: Option<ProgressBar>,
    start: Instant,
    beat: Instant,
}

impl Progress<'_> {
    fn new(
        cx: &Workplace,
        title: &str,
        log: &Path,
        counts: Option<fn(&str) -> bool>,
    ) -> Result<Self> {
        let has_terminal = std::io::stderr().is_terminal() && !cx.background;
        let bar = has_terminal.then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        match &bar {
            Some(bar) => bar.enable_steady_tick(TICK),
            None => eprintln!("{title} ..."),
        }
        Ok(Self {
            title: title.to_owned(),
            log: File::open(log)?,
            partial: String::new(),
            lines: 0,
            counts,
            total: None,
            each: None,
            bar,
            start: Instant::now(),
            beat: Instant::now(),
        })
    }

    fn update(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes)?;
        self.partial.push_str(&String::from_utf8_lossy(&bytes));
        let mut last = None;
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            let line = line.trim_end();
            if let Some(each) = &mut self.each {
                each(line)?;
            }
            self.lines += u64::from(self.counts.is_none_or(|counts| counts(line)));
            if !line.is_empty() {
                last = Some(line.trim_start().to_owned());
            }
        }
        let total = self
            .total
            .map_or(String::new(), |total| format!(" of {total}"));
        match &self.bar {
            Some(bar) => {
                if let Some(last) = last {
                    bar.set_message(match self.counts {
                        Some(_) => format!("{:5}{total} {last}", self.lines),
                        None => last,
                    });
                }
            }
            None if self.beat.elapsed() >= HEARTBEAT => {
                self.beat = Instant::now();
                let counted = if self.counts.is_some() {
                    "done"
                } else {
                    "lines"
                };
                let seconds = self.start.elapsed().as_secs();
                eprintln!(
                    "{} ... {seconds} s, {}{total} {counted}",
                    self.title, self.lines
                );
            }
            None => {}
        }
        Ok(())
    }

    fn finish(self, took: Duration, success: bool) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let verdict = if success { "done" } else { "failed" };
        eprintln!("{}: {verdict} in {:.1} s", self.title, took.as_secs_f32());
    }
}

/// Returns the end of a log, indented. If the first error is further up, it comes before that:
/// parallel jobs still print after one of them has failed.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.len().saturating_sub(TAIL_LINES);
    let mut shown = Vec::new();
    if let Some(first) = lines[..end].iter().position(|line| is_error(line)) {
        shown.extend(&lines[first..end.min(first + ERROR_LINES)]);
        if first + ERROR_LINES < end {
            shown.push("[...]");
        }
    }
    shown.extend(&lines[end..]);
    shown.iter().map(|line| format!("  | {line}\n")).collect()
}

/// Whether a program failed for want of space.
fn is_full(log: &Path) -> bool {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    ["No space left on device", "Disk quota exceeded"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Whether a compiler, a linker or make starts to report an error in this line.
fn is_error(line: &str) -> bool {
    line.starts_with("error")
        || ["error: ", "undefined reference", "ERROR: "]
            .iter()
            .any(|sign| line.contains(sign))
}

/// Turns a title into a file name.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log_and_where_it_is() {
        let (_dir, cx) = Workplace::for_test().unwrap();
        let step = Step::new(&cx, "Break it", shell("echo out; echo why >&2; exit 3"));
        let error = step.hint("mend it").run().unwrap_err().to_string();
        for part in [
            "Break it",
            "exit status: 3",
            "| out",
            "| why",
            "break-it.log",
            "next: mend it",
        ] {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let (_dir, cx) = Workplace::for_test().unwrap();
        // The device is always full.
        let step = Step::new(&cx, "Fill it", shell("echo some | cat >/dev/full"));
        let error = step.hint("mend it").run().unwrap_err().to_string();
        assert!(
            error.contains("No space left on device") && error.contains("--cache-dir"),
            "{error}"
        );
        assert!(!error.contains("mend it"), "{error}");
    }

    #[test]
    fn lines_are_heeded_as_they_come_and_an_error_ends_the_program() {
        let (_dir, cx) = Workplace::for_test().unwrap();
        let mut lines = Vec::new();
        let step = Step::new(&cx, "count", shell("echo one; echo two; sleep 60"));
        let start = Instant::now();
        let step = step.of(9).each(|line| {
            lines.push(line.to_owned());
            anyhow::ensure!(line != "two", "enough");
            Ok(())
        });
        assert_eq!(step.run().unwrap_err().to_string(), "enough");
        assert_eq!(lines, ["one", "two"]);
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn an_error_further_up_is_shown_too() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let noise = |n: usize| "  CC a.o\n".repeat(n);
        std::fs::write(
            &log,
            format!("{}a.c:1:1: error: no\n{}end\n", noise(50), noise(90)),
        )
        .unwrap();
        let tail = tail(&log);
        assert!(tail.starts_with("  | a.c:1:1: error: no\n"), "{tail}");
        assert!(
            tail.contains("  | [...]\n") && tail.ends_with("  | end\n"),
            "{tail}"
        );
        assert_eq!(tail.lines().count(), ERROR_LINES + 1 + TAIL_LINES);
    }

    #[test]
    fn no_program_outlives_us() {
        let command = accompanied(&shell("true"), true);
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(command.get_program(), "setpriv");
        assert_eq!(words[..3], ["--pdeathsig", "TERM", "--"]);
        assert_eq!(words[3..6], ["nice", "sh", "-c"]);
    }

    #[test]
    fn the_environment_and_the_directory_are_those_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = shell("pwd; echo $NEW; echo ${HOME-none}");
        command
            .current_dir(dir.path())
            .env("NEW", "new")
            .env_remove("HOME");
        let output = accompanied(&command, false).output().unwrap();
        let expected = format!("{}\nnew\nnone\n", dir.path().display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }

    #[test]
    fn a_deadline_ends_the_program() {
        let (_dir, cx) = Workplace::for_test().unwrap();
        let start = Instant::now();
        let step = Step::new(&cx, "hang", shell("exec sleep 60"));
        let error = step
            .deadline(Duration::from_millis(200))
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("still ran"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_not_there_points_to_the_doctor() {
        let (_dir, cx) = Workplace::for_test().unwrap();
        let error = run(&cx, "gone", Command::new("no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("xtask doctor"), "{error:#}");
    }

    #[test]
    fn titles_become_file_names() {
        assert_eq!(
            slug("Build x86_64 kernel (rust core)"),
            "build-x86_64-kernel-rust-core"
        );
    }
}
