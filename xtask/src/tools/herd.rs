// SPDX-License-Identifier: GPL-2.0
//! Provides herd7, which runs litmus tests: the machine's own, or Debian's in the cache.

use crate::tools::context::Context;
use crate::tools::need::{on_path, reaches};
use crate::tools::{apt, prebuilt};
use anyhow::{bail, Context as _, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::place;
use xshell::{cmd, Shell};

/// The version that the kernel's memory model asks for.
const LEAST: &str = "7.58";

/// How to get herd7 where Debian's package can't be had.
const NEXT: &str =
    "next: install herdtools7 (`opam install herdtools7`) so that `herd7` is on the path";

/// A herd7 that starts and is new enough.
pub struct Herd {
    program: PathBuf,
    /// Its library of models, if that is not where the program was built to look for it.
    library: Option<PathBuf>,
}

impl fmt::Display for Herd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

impl Herd {
    /// Returns the machine's own, or the one in the cache.
    pub fn find(cx: &Context) -> Option<Self> {
        let own = on_path("herd7").map(|program| Self {
            program,
            library: None,
        });
        own.filter(|own| serves(&own.program)).or_else(|| {
            let cached = Self::in_cache(cx);
            serves(&cached.program).then_some(cached)
        })
    }

    fn in_cache(cx: &Context) -> Self {
        let dir = place_of(cx);
        Self {
            program: dir.join("bin/herd7"),
            library: Some(dir.join("usr/share/herdtools7/herd")),
        }
    }

    /// Returns it, after fetching it if necessary.
    pub fn get(cx: &Context) -> Result<Self> {
        let _lock = cx.lock("herd")?;
        if let Some(found) = Self::find(cx) {
            return Ok(found);
        }
        let dest = place_of(cx);
        let fits = |version: &str| reaches(version, LEAST);
        apt::download(cx, "herdtools7", fits, &cx.cache.join("incoming"))
            .and_then(|package| {
                place::remove(&dest)?;
                prebuilt::install(cx, "herd7", &[package], &dest)
            })
            .with_context(|| format!("herd7 {LEAST} or later is not here\n{NEXT}"))?;
        let herd = Self::in_cache(cx);
        if !serves(&herd.program) {
            bail!("Debian's herd7 does not say that it is {LEAST} or later\n{NEXT}");
        }
        Ok(herd)
    }

    /// Returns the command that runs tests with the memory model of a kernel tree.
    pub fn command(&self, tree: &Path, tests: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(library) = &self.library {
            command.arg("-set-libdir").arg(library);
        }
        command
            .args(["-conf", "linux-kernel.cfg"])
            .args(tests)
            .current_dir(tree.join("tools/memory-model"));
        command
    }
}

fn place_of(cx: &Context) -> PathBuf {
    cx.cache.join("tools").join(format!("herd7-{LEAST}"))
}

/// Whether the program starts and is new enough. It prints `7.58, Rev: exported`.
fn serves(program: &Path) -> bool {
    let Ok(sh) = Shell::new() else {
        return false;
    };
    let said = cmd!(sh, "{program} -version").ignore_stderr().quiet();
    said.read().is_ok_and(|said| {
        let version = said.split(',').next().unwrap_or_default();
        reaches(version.trim(), LEAST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_serves_if_it_is_new_enough() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("herd7");
        for (said, enough) in [
            ("7.58, Rev: exported", true),
            ("7.58+1, Rev: 0123", true),
            ("8.0, Rev: 0123", true),
            ("7.56.3, Rev: exported", false),
            ("something else", false),
        ] {
            fs::write(&program, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(serves(&program), enough, "{said}");
        }
        assert!(!serves(&dir.path().join("none")));
    }
}
