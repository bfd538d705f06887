// SPDX-License-Identifier: GPL-2.0
//! Programs in the versions asked for, in the cache: Debian's build if it has that version, and
//! otherwise built with `cargo install`.

use crate::tools::context::Context;
use crate::tools::need::on_path;
use crate::tools::{apt, prebuilt};
use anyhow::Result;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// A program of a crate.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The name of the program.
    program: &'static str,
    /// The crate that provides it.
    package: &'static str,
    /// The version of both.
    version: &'static str,
    /// The Debian package that provides it, if there is one. To fetch it takes seconds, and to
    /// build a program takes minutes.
    debian: Option<&'static str>,
}

/// The bindgen that kernels are built with.
pub const BINDGEN: Tool = Tool {
    program: "bindgen",
    package: "bindgen-cli",
    version: "0.72.1",
    debian: Some("bindgen"),
};

/// The program that changes the core, to see whether a test notices.
pub const MUTANTS: Tool = Tool {
    program: "cargo-mutants",
    package: "cargo-mutants",
    version: "27.1.0",
    debian: None,
};

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.version)
    }
}

impl Tool {
    fn cached(&self, cx: &Context) -> PathBuf {
        let entry = format!("{}-{}", self.program, self.version);
        cx.cache.join("tools").join(entry)
    }

    /// Returns the program, if it is on the machine or in the cache.
    pub fn find(&self, cx: &Context) -> Option<PathBuf> {
        let cached = self.cached(cx).join("bin").join(self.program);
        if cached.exists() {
            return Some(cached);
        }
        let found = on_path(self.program)?;
        let sh = cx.shell().ok()?;
        let version = cmd!(sh, "{found} --version").ignore_stderr().read().ok()?;
        (version.trim() == self.to_string()).then_some(found)
    }

    /// Returns the program, after installing it if necessary. The caller holds the lock `tools`.
    pub fn get(&self, cx: &Context) -> Result<PathBuf> {
        if let Some(found) = self.find(cx) {
            return Ok(found);
        }
        let dest = self.cached(cx);
        if let Some(package) = self.debian {
            match self.fetch(cx, package, &dest) {
                Ok(()) => return Ok(dest.join("bin").join(self.program)),
                Err(error) => eprintln!("{self} is built here: {error:#}"),
            }
        }
        self.build(cx, &dest)?;
        Ok(dest.join("bin").join(self.program))
    }

    fn fetch(&self, cx: &Context, package: &str, dest: &Path) -> Result<()> {
        let fits = |version: &str| self.is_debian_version(version);
        let package = apt::download(cx, package, fits, &cx.cache.join("incoming"))?;
        prebuilt::install(cx, self.program, &[package], dest)
    }

    /// Whether a version of a Debian package is the one of this program.
    fn is_debian_version(&self, version: &str) -> bool {
        let rest = version.strip_prefix(self.version);
        rest.is_some_and(|rest| rest.starts_with(['+', '-']))
    }

    fn build(&self, cx: &Context, dest: &Path) -> Result<()> {
        place::whole(dest, |partial| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
            let (sh, target) = (cx.shell()?, partial.join("target"));
            let package = format!("{}@{}", self.package, self.version);
            let install = cmd!(
                sh,
                "{cargo} install --locked {package} --root {partial} --target-dir {target}"
            );
            Step::new(cx, &format!("Install {self}"), install)
                .counting(|line| line.trim_start().starts_with("Compiling "))
                .hint("see that the crates' registry is in reach, then run this again")
                .run()?;
            place::remove(&target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_package_has_to_be_of_the_same_version() {
        for (version, same) in [
            ("0.72.1-1+b3", true),
            ("0.72.1+dfsg-1", true),
            ("0.71.1-6", false),
            ("0.72.10-1", false),
            ("0.72.1~rc1-1", false),
        ] {
            assert_eq!(BINDGEN.is_debian_version(version), same, "{version}");
        }
    }
}
