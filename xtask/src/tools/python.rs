// SPDX-License-Identifier: GPL-2.0
//! Provides Sphinx, which makes the kernel's documentation, in the cache.

use crate::tools::context::Context;
use crate::tools::need::{program, Need, Probe};
use crate::tools::provision;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::Command;
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// The version. Debian's is older, and installing it would change the machine.
const VERSION: &str = "8.2.3";

/// What installs it.
const NEEDS: [Need; 2] = [
    program("python3", &["python3"]),
    Need {
        name: "pip for python3",
        probe: Probe::Python("pip"),
        packages: &["python3-pip"],
    },
];

/// Sphinx, ready for use.
pub struct Sphinx(PathBuf);

/// Returns Sphinx, after installing it if necessary.
pub fn ready(cx: &Context) -> Result<Sphinx> {
    let dir = cx.cache.join("tools").join(format!("sphinx-{VERSION}"));
    let _lock = cx.lock("tools")?;
    if !dir.exists() {
        provision::ensure(cx, &NEEDS)?;
        place::whole(&dir, |partial| {
            let (sh, package) = (cx.shell()?, format!("sphinx=={VERSION}"));
            let install = cmd!(
                sh,
                "python3 -m pip install --quiet --disable-pip-version-check --no-compile
                    --target {partial} {package} pyyaml"
            );
            Step::new(cx, &format!("Install Sphinx {VERSION}"), install)
                .hint("see that Python's package index is in reach, then run this again")
                .run()
                .map(drop)
        })?;
    }
    Ok(Sphinx(dir))
}

impl Sphinx {
    /// Sets up the environment of a `make` of documentation.
    pub fn equip(&self, command: &mut Command) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = [self.0.join("bin")].into_iter();
        let path = std::env::join_paths(dirs.chain(std::env::split_paths(&path)))
            .context("the cache has a colon in its name")?;
        command
            .env("PATH", path)
            .env("PYTHONPATH", &self.0)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LC_ALL", "C.UTF-8");
        Ok(())
    }
}
