// SPDX-License-Identifier: GPL-2.0
//! git, in directories of the program's own: without the user's settings, and without the repository
//! that the directory may be in.

use anyhow::{bail, Context as _, Result};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
