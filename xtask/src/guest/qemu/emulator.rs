// SPDX-License-Identifier: GPL-2.0
//! Provides the emulator: the machine's own, or a newer one in the cache if a target needs that.

use crate::tools::apt;
use crate::tools::context::Context;
use crate::tools::need::reaches;
use crate::tools::target::{Newer, Target};
use anyhow::{bail, Context as _, Result};
use std::path::{Path, PathBuf};
use steps::place;
use xshell::{cmd, Shell};

/// Returns the program that runs the target's kernels.
pub fn program(cx: &Context, target: &Target) -> Result<PathBuf> {
    let own = PathBuf::from(target.qemu);
    let Some(newer) = &target.newer_qemu else {
        return Ok(own);
    };
    let serves =
        |program: &Path| version(program).is_some_and(|version| reaches(&version, newer.least));
    if serves(&own) {
        return Ok(own);
    }
    let _lock = cx.lock("qemu")?;
    let cached = cx.cache.join("tools/qemu").join(target.name);
    let program = cached.join("usr/bin").join(target.qemu);
    if !serves(&program) {
        fetch(cx, newer, &cached).with_context(|| {
            format!(
                "{} has to be {} or later ({}); install one, or let xtask fetch it",
                target.qemu, newer.least, newer.why
            )
        })?;
        if !serves(&program) {
            bail!(
                "Debian's newer {} does not start here: install one that is {} or later ({})",
                target.qemu,
                newer.least,
                newer.why
            );
        }
    }
    Ok(program)
}

/// Returns the version that the program prints, or `None` if it does not start.
fn version(program: &Path) -> Option<String> {
    let sh = Shell::new().ok()?;
    let said = cmd!(sh, "{program} --version").ignore_stderr().quiet();
    version_in(&said.read().ok()?)
}

/// Returns the version in a line like `QEMU emulator version 7.2.22 (Debian ...)`.
fn version_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("version ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// Downloads and unpacks Debian's packages. Their libraries are already there, because the
/// machine's own emulator needs the same ones.
fn fetch(cx: &Context, newer: &Newer, dest: &Path) -> Result<()> {
    let incoming = cx.cache.join("incoming");
    let fits = |version: &str| {
        let (_, version) = version.split_once(':').unwrap_or(("", version));
        reaches(version, newer.least)
    };
    let mut packages = Vec::new();
    for name in newer.packages {
        packages.push(apt::download(cx, name, fits, &incoming)?);
    }
    place::remove(dest)?;
    apt::unpack(cx, "Unpack a newer emulator", &packages, dest, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_it_says() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(version_in(said).as_deref(), Some("10.0.2"));
        assert_eq!(version_in("qemu"), None);
    }
}
