// SPDX-License-Identifier: GPL-2.0
//! A guest's console: its lines, its log, and how it ended.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a guest has to print the rest and go, after its script has ended or its kernel has
/// panicked.
const GRACE: Duration = Duration::from_secs(10);

/// How long the emulator has to answer, including on a busy host.
const ANSWER: Duration = Duration::from_secs(20);

/// The prompt of the emulator's monitor.
const PROMPT: &str = "(qemu) ";

/// How a guest ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The script ended with this status.
    Exit(i32),
    /// The kernel panicked, with this line.
    Panic(String),
    /// It printed nothing for this long.
    Silent(Duration),
    /// It still ran after this long.
    Late(Duration),
    /// The emulator ended before the script did.
    Gone(ExitStatus),
}

/// A running guest. Dropping it kills the guest.
pub struct Console {
    child: Child,
    chunks: Receiver<Vec<u8>>,
    reader: Option<JoinHandle<()>>,
    log: File,
    partial: Vec<u8>,
}

impl Console {
    /// Starts the emulator. The output of the emulator and of the guest goes to the log.
    pub fn open(mut command: Command, log: &Path) -> Result<Self> {
        let file =
            File::create(log).with_context(|| format!("cannot write the log {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot run `{program}`: see `cargo xtask doctor`"))?;
        let stdout = child.stdout.take().context("the emulator has no output")?;
        let (sender, chunks) = mpsc::channel();
        let reader = std::thread::spawn(move || pump(stdout, &sender));
        Ok(Self {
            child,
            chunks,
            reader: Some(reader),
            log: file,
            partial: Vec::new(),
        })
    }

    /// Returns whether the guest prints this text in time.
    pub fn says(&mut self, text: &str, patience: Duration) -> Result<bool> {
        let start = Instant::now();
        let mut said = false;
        while let Ok(chunk) = self
            .chunks
            .recv_timeout(patience.saturating_sub(start.elapsed()))
        {
            self.log
                .write_all(&chunk)
                .context("cannot write the guest's log")?;
            self.partial.extend_from_slice(&chunk);
            self.take_lines(&mut Watch::new(patience, patience), &mut |line| {
                said |= line.contains(text)
            });
            if said {
                break;
            }
        }
        Ok(said)
    }

    /// Passes each line to `on_line` until the guest ends or has to be ended.
    pub fn follow(
        &mut self,
        deadline: Duration,
        silence: Duration,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<End> {
        let mut watch = Watch::new(deadline, silence);
        loop {
            match self.chunks.recv_timeout(watch.patience()) {
                Ok(chunk) => {
                    self.log
                        .write_all(&chunk)
                        .context("cannot write the guest's log")?;
                    watch.heard();
                    self.partial.extend_from_slice(&chunk);
                    self.take_lines(&mut watch, on_line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    return Ok(watch.verdict().unwrap_or(End::Gone(status)));
                }
            }
            if let Some(end) = watch.over() {
                return Ok(end);
            }
        }
    }

    /// Asks the emulator's monitor, which is behind the console, and returns its answer. The answer
    /// is empty if the emulator itself hangs. The guest does not get the console back.
    pub fn ask(&mut self, question: &str) -> String {
        if let Some(stdin) = &mut self.child.stdin {
            // An emulator that has ended does not answer, so this error is ignored.
            let _ = stdin.write_all(format!("\x01c{question}\n").as_bytes());
        }
        let start = Instant::now();
        let mut answer = String::new();
        // The monitor prompts for this command, and again after its answer.
        while answer.matches(PROMPT).count() < 2 {
            let left = ANSWER.saturating_sub(start.elapsed());
            let Ok(chunk) = self.chunks.recv_timeout(left) else {
                break;
            };
            answer.push_str(&String::from_utf8_lossy(&chunk));
        }
        answer
    }

    fn take_lines(&mut self, watch: &mut Watch, on_line: &mut dyn FnMut(&str)) {
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            watch.line(line);
            on_line(line);
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // This fails only if the guest has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        // Output between the last read and the end also belongs in the log.
        for chunk in self.chunks.try_iter() {
            let _ = self.log.write_all(&chunk);
        }
    }
}

/// Forwards all output as it comes. A line without its end, as a hanging guest leaves it, is output
/// too.
fn pump(mut stdout: ChildStdout, chunks: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(size @ 1..) = stdout.read(&mut buffer) {
        if chunks.send(buffer[..size].to_vec()).is_err() {
            return;
        }
    }
}

/// What is known of a guest so far, from its lines and the clock.
struct Watch {
    start: Instant,
    last: Instant,
    deadline: Duration,
    silence: Duration,
    ending: Option<(Instant, Ending)>,
}

enum Ending {
    Exit(i32),
    Panic(String),
}

impl Watch {
    fn new(deadline: Duration, silence: Duration) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            last: now,
            deadline,
            silence,
            ending: None,
        }
    }

    fn heard(&mut self) {
        self.last = Instant::now();
    }

    fn line(&mut self, line: &str) {
        if self.ending.is_some() {
            return;
        }
        let ending = if let Some(status) = line.strip_prefix("# guest: exit ") {
            Ending::Exit(status.trim().parse().unwrap_or(-1))
        } else if line.contains("Kernel panic - not syncing") {
            Ending::Panic(without_timestamp(line).to_owned())
        } else {
            return;
        };
        self.ending = Some((Instant::now(), ending));
    }

    /// Returns how long to wait for more output.
    fn patience(&self) -> Duration {
        let quiet = self.silence.saturating_sub(self.last.elapsed());
        let late = self.deadline.saturating_sub(self.start.elapsed());
        let grace = match &self.ending {
            Some((since, _)) => GRACE.saturating_sub(since.elapsed()),
            None => Duration::MAX,
        };
        quiet.min(late).min(grace)
    }

    /// Returns how the guest ends, if it has to be ended now.
    fn over(&self) -> Option<End> {
        match &self.ending {
            Some((since, _)) if since.elapsed() >= GRACE => self.verdict(),
            Some(_) => None,
            None if self.start.elapsed() >= self.deadline => Some(End::Late(self.deadline)),
            None if self.last.elapsed() >= self.silence => Some(End::Silent(self.silence)),
            None => None,
        }
    }

    /// Returns the end that the guest itself announced.
    fn verdict(&self) -> Option<End> {
        self.ending.as_ref().map(|(_, ending)| match ending {
            Ending::Exit(status) => End::Exit(*status),
            Ending::Panic(line) => End::Panic(line.clone()),
        })
    }
}

/// Returns a kernel line without the `[    1.234567] ` before it.
fn without_timestamp(line: &str) -> &str {
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((_, text)) => text,
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(300);

    /// Runs a shell in place of the emulator. Returns its end, its lines and its log.
    fn end_of(script: &str, deadline: Duration, silence: Duration) -> (End, Vec<String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let mut lines = Vec::new();
        let mut console = Console::open(command, &log).unwrap();
        let end = console
            .follow(deadline, silence, &mut |line| lines.push(line.to_owned()))
            .unwrap();
        drop(console);
        (end, lines, std::fs::read_to_string(log).unwrap())
    }

    #[test]
    fn a_script_that_ends() {
        let (end, lines, log) = end_of("printf 'one\\r\\n# guest: exit 3\\n'", LONG, LONG);
        assert_eq!(end, End::Exit(3));
        assert_eq!(lines, ["one", "# guest: exit 3"]);
        assert!(log.starts_with("one"));
    }

    #[test]
    fn waiting_for_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let says = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::null());
            Console::open(command, &dir.path().join("log"))
                .unwrap()
                .says("hello", SHORT)
                .unwrap()
        };
        assert!(says("echo well, hello; exec sleep 20"));
        assert!(!says("echo nothing; exec sleep 20"));
        assert!(!says("exit 1"));
    }

    #[test]
    fn the_monitor_answers() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "read -r question; printf '(qemu) where\nthere\n(qemu) '; exec sleep 20",
        ]);
        let mut console = Console::open(command, &dir.path().join("log")).unwrap();
        assert_eq!(console.ask("where"), "(qemu) where\nthere\n(qemu) ");
    }

    #[test]
    fn a_panic() {
        let line = "[    1.5] Kernel panic - not syncing: no reason";
        let (end, ..) = end_of(&format!("echo '{line}'; echo trace"), LONG, LONG);
        assert_eq!(
            end,
            End::Panic("Kernel panic - not syncing: no reason".into())
        );
    }

    #[test]
    fn silence() {
        let (end, _, log) = end_of("printf half; exec sleep 20", LONG, SHORT);
        assert_eq!(end, End::Silent(SHORT));
        assert_eq!(log, "half");
    }

    #[test]
    fn a_deadline() {
        let (end, ..) = end_of("while :; do echo x; sleep 0.05; done", SHORT, LONG);
        assert_eq!(end, End::Late(SHORT));
    }

    #[test]
    fn an_emulator_that_dies() {
        let (end, _, log) = end_of("echo why >&2; exit 5", LONG, LONG);
        assert!(
            matches!(end, End::Gone(status) if status.code() == Some(5)),
            "{end:?}"
        );
        assert_eq!(log, "why\n");
    }
}
