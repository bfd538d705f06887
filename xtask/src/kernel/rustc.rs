// SPDX-License-Identifier: GPL-2.0
//! The compiler that `rust-toolchain.toml` chooses, and the library source of the same version.

use crate::tools::apt;
use crate::tools::context::Context;
use anyhow::{bail, Context as _, Result};
use std::path::PathBuf;
use std::time::Duration;
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// Longest time that rustup may take. If its server is out of reach, waiting longer is of no use.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(120);

/// The compiler that `rust-toolchain.toml` chooses.
#[derive(Clone, Debug)]
pub struct Rustc {
    /// Where its programs and libraries are.
    pub sysroot: PathBuf,
    /// Its release, such as `1.95.0`.
    pub release: String,
}

/// Returns the compiler that `rust-toolchain.toml` chooses.
pub fn chosen(cx: &Context) -> Result<Rustc> {
    let sh = cx.shell()?;
    let version = cmd!(sh, "rustc --version").read();
    let version = version.context("cannot run rustc: install Rust with rustup")?;
    let release = version
        .split(' ')
        .nth(1)
        .context("rustc does not say its version")?
        .to_owned();
    Ok(Rustc {
        sysroot: cmd!(sh, "rustc --print sysroot").read()?.into(),
        release,
    })
}

impl Rustc {
    /// Returns the library source, if it is on the machine or in the cache.
    pub fn library(&self, cx: &Context) -> Option<PathBuf> {
        [
            self.sysroot.join("lib/rustlib/src/rust/library"),
            self.cached_library(cx).join("library"),
        ]
        .into_iter()
        .find(|dir| dir.join("core/src/lib.rs").exists())
    }

    fn cached_library(&self, cx: &Context) -> PathBuf {
        cx.cache
            .join("tools")
            .join(format!("rust-src-{}", self.release))
    }

    /// Gets the library source. Debian's package is tried first, because it leaves the user's toolchain
    /// as it is.
    pub fn get_library(&self, cx: &Context) -> Result<PathBuf> {
        let error = match self.library_from_debian(cx) {
            Ok(()) => None,
            Err(debian) => library_from_rustup(cx).err().map(|rustup| (debian, rustup)),
        };
        match (self.library(cx), error) {
            (Some(library), _) => Ok(library),
            (None, Some((debian, rustup))) => bail!(
                "no source of the Rust library of {}\nDebian: {debian:#}\nrustup: {rustup:#}\n\
             next: run `rustup component add rust-src` where its server is in reach",
                self.release
            ),
            (None, None) => bail!(
                "the source of the Rust library {} has no core",
                self.release
            ),
        }
    }

    /// Gets the library source from Debian.
    pub fn library_from_debian(&self, cx: &Context) -> Result<()> {
        let dest = self.cached_library(cx);
        let fits = |version: &str| {
            version
                .strip_prefix(&self.release)
                .is_some_and(|rest| rest.starts_with(['+', '-']))
        };
        let incoming = cx.cache.join("incoming");
        let package = apt::download(cx, "rust-src", fits, &incoming)?;
        place::whole(&dest, |partial| {
            let unpacked = partial.join("unpacked");
            package.unpack(cx, "Unpack rust-src", &unpacked)?;
            let sources = unpacked.join("usr/src");
            for entry in std::fs::read_dir(&sources)? {
                let library = entry?.path().join("library");
                if library.exists() {
                    std::fs::rename(library, partial.join("library"))?;
                    return place::remove(&unpacked);
                }
            }
            bail!("the package has no library in {}", sources.display())
        })?;
        place::remove(&package.deb)
    }
}

fn library_from_rustup(cx: &Context) -> Result<()> {
    let sh = cx.shell()?;
    let rustup = cmd!(sh, "rustup component add rust-src").env("RUSTUP_MAX_RETRIES", "0");
    Step::new(cx, "Add rust-src with rustup", rustup)
        .deadline(RUSTUP_DEADLINE)
        .run()
        .map(drop)
}
