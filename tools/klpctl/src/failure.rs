// SPDX-License-Identifier: GPL-2.0
//! What can go wrong: its cause, what to do next, and the exit code.

use serde::Serialize;
use std::io;
use std::process::ExitCode;

/// The exit codes. [`Exit::TABLE`] explains them, and the man page has that table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the table explains them")]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Transition = 3,
    Stalled = 4,
    NoPatch = 5,
    Forbidden = 6,
    NoLivePatching = 7,
    BadFile = 8,
    Refused = 9,
    Busy = 10,
    Reversed = 11,
    NotConfirmed = 12,
    Interrupted = 130,
}

impl Exit {
    /// Every exit code, its name in JSON, and what it means.
    pub const TABLE: &'static [(Self, &'static str, &'static str)] = &[
        (
            Self::Done,
            "done",
            "Done. status: no transition is going on",
        ),
        (
            Self::Failed,
            "failed",
            "The system failed, such as a full disk",
        ),
        (
            Self::Usage,
            "usage",
            "The command line is wrong. --help teaches",
        ),
        (
            Self::Transition,
            "transition",
            "A transition is still going on, also after --timeout",
        ),
        (
            Self::Stalled,
            "stalled",
            "status: a transition has been going on for more than 60 s",
        ),
        (
            Self::NoPatch,
            "no-patch",
            "There is no live patch of that name",
        ),
        (
            Self::Forbidden,
            "forbidden",
            "This takes rights that the caller does not have",
        ),
        (
            Self::NoLivePatching,
            "no-livepatching",
            "The kernel has no live patching, or sysfs is not mounted",
        ),
        (
            Self::BadFile,
            "bad-file",
            "The file is missing, cut short, no live patch, or for another kernel",
        ),
        (
            Self::Refused,
            "refused",
            "The kernel refused. Its log says why",
        ),
        (
            Self::Busy,
            "busy",
            "Another transition is going on, or the name is taken",
        ),
        (
            Self::Reversed,
            "reversed",
            "Somebody else turned the transition round meanwhile",
        ),
        (
            Self::NotConfirmed,
            "not-confirmed",
            "force: nobody confirmed it",
        ),
        (
            Self::Interrupted,
            "interrupted",
            "A signal ended the command. It said in what state",
        ),
    ];

    /// Returns its name in JSON.
    pub fn name(self) -> &'static str {
        let row = Self::TABLE.iter().find(|(exit, ..)| *exit == self);
        row.map_or("unknown", |(_, name, _)| name)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The cause, as a sentence without a full stop.
    pub cause: String,
    /// What to do next.
    pub next: String,
}

/// A failure in JSON.
#[derive(Serialize)]
pub struct FailureJson<'a> {
    error: &'static str,
    code: u8,
    cause: &'a str,
    next: &'a str,
}

/// The result of a step of a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Returns a failure.
    pub fn new(exit: Exit, cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit,
            cause: cause.into(),
            next: next.into(),
        }
    }

    /// Returns the failure of an operation on the system. `what` is the operation, as in `cannot
    /// read x`.
    pub fn of_system(what: impl std::fmt::Display, error: &io::Error) -> Self {
        let cause = format!("{what}: {}", describe(error));
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::new(Exit::Forbidden, cause, needs_rights())
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new(Exit::Failed, cause, "free some space, and run this again")
            }
            _ => Self::new(
                Exit::Failed,
                cause,
                "look at the kernel's log: dmesg | tail",
            ),
        }
    }

    /// Returns it for JSON.
    pub fn json(&self) -> FailureJson<'_> {
        FailureJson {
            error: self.exit.name(),
            code: self.exit as u8,
            cause: &self.cause,
            next: &self.next,
        }
    }
}

/// Returns the system's words for an error, without the number that Rust adds.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Returns what to do about missing rights.
pub fn needs_rights() -> String {
    if rustix::process::geteuid().is_root() {
        "root lacks this right here: in a container, run it on the host; else see whether the \
         kernel is locked down: cat /sys/kernel/security/lockdown"
            .into()
    } else {
        "run this as root, such as with sudo".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_code_is_in_the_table_once_in_order() {
        let codes: Vec<_> = Exit::TABLE.iter().map(|(exit, ..)| *exit as u8).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
        assert_eq!(Exit::Reversed.name(), "reversed");
    }

    #[test]
    fn an_error_of_the_system_gets_its_exit_code_and_no_number() {
        let failure =
            |errno: rustix::io::Errno| Failure::of_system("cannot write x", &errno.into());
        let denied = failure(rustix::io::Errno::ACCESS);
        assert_eq!(denied.exit, Exit::Forbidden);
        assert_eq!(denied.cause, "cannot write x: Permission denied");
        assert_eq!(failure(rustix::io::Errno::ROFS).exit, Exit::Forbidden);
        let full = failure(rustix::io::Errno::NOSPC);
        assert_eq!(
            (full.exit, full.next.contains("space")),
            (Exit::Failed, true)
        );
    }
}
