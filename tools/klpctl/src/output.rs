// SPDX-License-Identifier: GPL-2.0
//! What the user sees: the answer, as text or JSON, and the progress of a wait.
//!
//! Answers go to the standard output, and all else to the standard error. Bars appear only on a
//! terminal.

use crate::failure::{Exit, Result};
use crate::system::report::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::termios::isatty;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a question looks whether the user wants the command to end.
const ANSWER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The answer of a command.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub exit: Exit,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: serde_json::Value,
}

impl Answer {
    /// Returns an answer.
    pub fn new(exit: Exit, text: impl Into<String>, json: &impl Serialize) -> Self {
        Self {
            exit,
            text: text.into(),
            json: serde_json::to_value(json).unwrap_or_default(),
        }
    }
}

/// Where all of it goes.
pub struct Output {
    json: bool,
    /// Set by a first SIGINT or SIGTERM. A second one ends the program at once.
    interrupted: Arc<AtomicBool>,
}

impl Output {
    /// Returns the program's output, and catches the signals that interrupt it.
    pub fn new(json: bool) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Without a handler, a signal ends the program as it ends any other.
            let exit = Exit::Interrupted as i32;
            let _ = flag::register_conditional_shutdown(signal, exit, Arc::clone(&interrupted));
            let _ = flag::register(signal, Arc::clone(&interrupted));
        }
        Self { json, interrupted }
    }

    /// Whether the user wants the command to end.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Interrupts a command, as a signal does.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Tells the user something in the middle of a command.
    pub fn say(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Asks the user for a line. `None` if nobody can answer.
    pub fn ask(&self, question: &str) -> Option<String> {
        if self.json || !isatty(io::stdin()) {
            return None;
        }
        let _ = write!(io::stderr(), "{question} ");
        // Reading goes on after a signal, so it begins only when there is something to read.
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        while !matches!(poll(&mut ready, Some(&ANSWER)), Ok(1..)) {
            if self.interrupted() {
                return None;
            }
        }
        let mut line = String::new();
        stdin.read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// Prints the answer or the failure. Returns the exit code.
    pub fn conclude(&self, result: Result<Answer>) -> Exit {
        let (exit, text) = match (&result, self.json) {
            (Ok(answer), true) => (answer.exit, pretty(&answer.json)),
            (Ok(answer), false) => (answer.exit, answer.text.clone()),
            (Err(failure), true) => (failure.exit, pretty(&failure.json())),
            (Err(failure), false) => {
                let (cause, next) = (&failure.cause, &failure.next);
                let _ = writeln!(io::stderr(), "klpctl: {cause}\nnext: {next}");
                return failure.exit;
            }
        };
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => exit,
        }
    }

    /// Begins to show a wait.
    pub fn wait(&self) -> Waiting<'_> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Waiting {
            output: self,
            draws: !self.json && !dumb && isatty(io::stderr()),
            bar: None,
            said: Instant::now(),
            pause: Duration::from_secs(1),
        }
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Shows a wait: a bar on a terminal, and a line now and then elsewhere.
pub struct Waiting<'a> {
    output: &'a Output,
    draws: bool,
    bar: Option<ProgressBar>,
    said: Instant,
    pause: Duration,
}

impl Waiting<'_> {
    /// Whether it is time for [`Self::show`].
    pub fn is_due(&self) -> bool {
        let pause = match self.draws {
            true => Duration::from_millis(250),
            false => self.pause,
        };
        !self.output.json && self.said.elapsed() >= pause
    }

    /// Shows how far the transition is.
    pub fn show(&mut self, patch: &str, verb: &str, progress: &Progress) {
        self.said = Instant::now();
        let blockers = first_blockers(progress);
        if !self.draws {
            self.output
                .say(&format!("{patch}: {verb}, {}{blockers}", left(progress)));
            // What does not end soon need not be said often.
            self.pause = (self.pause * 2).min(Duration::from_secs(30));
            return;
        }
        let number = progress.left.unwrap_or_default();
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(number), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} [{bar:20}] {elapsed} {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            // A serial console may know no others.
            bar.set_style(style.progress_chars("=>-"));
            bar
        });
        let length = bar.length().unwrap_or_default().max(number);
        bar.set_length(length);
        bar.set_prefix(format!("{patch}: {verb}"));
        bar.set_position(length - number);
        bar.set_message(format!("{}{blockers}", left(progress)));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns a number of tasks in words.
fn tasks(number: u64) -> String {
    match number {
        1 => "1 task".into(),
        number => format!("{number} tasks"),
    }
}

/// Says how many tasks have not moved.
pub fn left(progress: &Progress) -> String {
    match progress.left {
        Some(number) => format!("{} left", tasks(number)),
        None => "and only root can see which tasks are left".into(),
    }
}

/// Returns the first blockers, as the end of a line.
pub fn first_blockers(progress: &Progress) -> String {
    let mut text = String::new();
    for (index, blocker) in progress.blockers.iter().take(2).enumerate() {
        let lead = if index == 0 { ": " } else { "; " };
        let _ = write!(text, "{lead}{} {}", blocker.who(), blocker.why());
    }
    if progress.left > Some(2) && !text.is_empty() {
        text.push_str("; ...");
    }
    text
}

/// Returns rows as a table, with each column as wide as it needs to be. The first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
