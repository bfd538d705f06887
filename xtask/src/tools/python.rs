// SPDX-License-Identifier: GPL-2.0
//! Provides programs from Python's package index in the cache.

use crate::tools::context::Context;
use crate::tools::need::{program, Need, Probe};
use crate::tools::provision;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::Command;
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// A program from the index, in a version that is known to work.
pub struct Program {
    name: &'static str,
    version: &'static str,
    /// What else it takes.
    with: &'static [&'static str],
}

/// Makes the kernel's documentation. Debian's is older, and installing it would change the machine.
pub static SPHINX: Program = Program {
    name: "sphinx",
    version: "8.2.3",
    with: &["pyyaml"],
};

/// Reads a kernel's memory. Debian's is too old for this kernel.
pub static DRGN: Program = Program {
    name: "drgn",
    version: "0.3.0",
    with: &[],
};

/// What installs programs.
const NEEDS: [Need; 2] = [
    program("python3", &["python3"]),
    Need {
        name: "pip for python3",
        probe: Probe::Python("pip"),
        packages: &["python3-pip"],
    },
];

/// A program that is ready for use.
pub struct Ready(PathBuf);

impl Program {
    /// Returns the program, after installing it if necessary.
    pub fn ready(&self, cx: &Context) -> Result<Ready> {
        let &Self {
            name,
            version,
            with,
        } = self;
        let dir = cx.cache.join("tools").join(format!("{name}-{version}"));
        let _lock = cx.lock("tools")?;
        if !dir.exists() {
            provision::ensure(cx, &NEEDS)?;
            place::whole(&dir, |partial| {
                let (sh, package) = (cx.shell()?, format!("{name}=={version}"));
                let install = cmd!(
                    sh,
                    "python3 -m pip install --quiet --disable-pip-version-check --no-compile
                        --target {partial} {package} {with...}"
                );
                Step::new(cx, &format!("Install {name} {version}"), install)
                    .hint("see that Python's package index is in reach, then run this again")
                    .run()
                    .map(drop)
            })?;
        }
        Ok(Ready(dir))
    }
}

impl Ready {
    /// Sets up the environment of a command that runs the program.
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
