// SPDX-License-Identifier: GPL-2.0
//! git, in directories of xtask's own: without the user's settings, and without the repository that
//! the directory may be in.

use anyhow::{bail, Context as _, Result};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use xshell::cmd;

use crate::tools::context::Context;

/// A person, as git knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, such as `Ada Lovelace`.
    pub name: String,
    /// The address, without angle brackets.
    pub email: String,
}

impl Identity {
    /// Returns who runs this, from git's environment and settings.
    pub fn of_user(cx: &Context) -> Result<Self> {
        let sh = cx.shell()?;
        // Without this setting, git would make up an address from the name of the machine.
        let ident = cmd!(sh, "git -c user.useConfigOnly=true var GIT_AUTHOR_IDENT");
        let ident = ident.quiet().ignore_stderr().read().ok();
        ident.as_deref().and_then(Self::parse).context(
            "git does not know who you are: the patches would have no author and no sign-off\n\
             next: git config --global user.name \"Your Name\"\n      \
             git config --global user.email you@example.org",
        )
    }

    /// Returns someone whose commits nobody sees.
    pub fn for_checks() -> Self {
        Self {
            name: "Series Check".into(),
            email: "series@example.org".into(),
        }
    }

    /// Parses git's `name <email> time zone`.
    fn parse(ident: &str) -> Option<Self> {
        let (name, rest) = ident.split_once(" <")?;
        let (email, _) = rest.split_once('>')?;
        Some(Self {
            name: name.into(),
            email: email.into(),
        })
    }

    /// Makes this person the author and the committer of what `command` commits, at this date.
    pub fn sign(&self, command: &mut Command, date: &str) {
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), &self.name)
                .env(format!("GIT_{role}_EMAIL"), &self.email)
                .env(format!("GIT_{role}_DATE"), date);
        }
    }
}

/// Returns a git command that runs in `dir`.
pub fn at(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        // Inside a git work tree, git would look for files from the top of that tree.
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C");
    command
}

/// Runs git in `dir` with these arguments and this input. Returns its output.
pub fn run(dir: &Path, args: &[&str], input: &str) -> Result<String> {
    let mut command = at(dir);
    command.args(args);
    finish(command, input)
}

/// Runs a git command that succeeds. Returns its output.
pub fn finish(command: Command, input: &str) -> Result<String> {
    let what = format!("{command:?}");
    let output = output(command, input)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed\n{}", said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what} did not print text"))
}

/// Runs a git command with this input.
pub fn output(mut command: Command, input: &str) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run git")?;
    let mut stdin = child.stdin.take().context("git takes no input")?;
    // A git that fails early closes its input; its status tells more than a broken pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().context("cannot run git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_name_and_an_address() {
        let ada = Identity::parse("Ada Lovelace <ada@example.org> 1700000000 +0100").unwrap();
        assert_eq!(
            (ada.name.as_str(), ada.email.as_str()),
            ("Ada Lovelace", "ada@example.org")
        );
        assert_eq!(Identity::parse("nobody"), None);
    }
}
