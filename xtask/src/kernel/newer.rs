// SPDX-License-Identifier: GPL-2.0
//! Provides a rustc from Debian, in the cache, for targets that need a newer one than ours.

use crate::kernel::rustc::Rustc;
use crate::tools::context::Context;
use crate::tools::need::{reaches, Need, Probe};
use crate::tools::target::Target;
use crate::tools::{apt, prebuilt, provision};
use anyhow::{bail, Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{cmd, Shell};

/// LLVM's library for the versions of rustc that are available.
const LLVM: Need = Need {
    name: "libLLVM 22",
    probe: Probe::Library("libLLVM.so.22.1"),
    packages: &["libllvm22"],
};

/// Returns the oldest rustc that the tree takes for that target.
pub fn least(tree: &Path, target: &Target) -> Result<String> {
    let sh = Shell::new()?;
    sh.change_dir(tree);
    let (script, arch) = (tree.join("scripts/min-tool-version.sh"), target.kernel_arch);
    let least = cmd!(sh, "{script} rustc")
        .env("ARCH", arch)
        .env("SRCARCH", arch)
        .read();
    least.context("the tree does not say which rustc it takes")
}

/// Returns a rustc of release `least` or later, from the cache or from Debian.
pub fn rustc(cx: &Context, least: &str) -> Result<Rustc> {
    provision::ensure(cx, &[LLVM])?;
    if let Some(found) = cached(cx, least) {
        return Ok(found);
    }
    from_debian(cx, least).context(
        "no such rustc from Debian; to use one of your own, name it in rust-toolchain.toml",
    )?;
    cached(cx, least).context("Debian's rustc does not start here")
}

/// Returns the directory of the compilers that were fetched.
fn dir(cx: &Context) -> PathBuf {
    cx.cache.join("tools/rustc")
}

fn cached(cx: &Context, least: &str) -> Option<Rustc> {
    let entries = fs::read_dir(dir(cx)).ok()?.flatten();
    let mut found = entries.filter_map(|entry| {
        let release = entry.file_name().to_string_lossy().into_owned();
        let sysroot = entry.path();
        let starts = prebuilt::starts(&sysroot.join("bin/rustc"));
        (starts && reaches(&release, least)).then_some(Rustc { sysroot, release })
    });
    found.next()
}

fn from_debian(cx: &Context, least: &str) -> Result<()> {
    let incoming = cx.cache.join("incoming");
    let compiler = apt::download(cx, "rustc", |version| reaches(version, least), &incoming)?;
    let Some((release, _)) = compiler.version.split_once(['+', '-']) else {
        bail!("rustc has an odd version: {}", compiler.version);
    };
    let Some((minor, _)) = release.rsplit_once('.') else {
        bail!("rustc has an odd release: {release}");
    };
    let driver = format!("libstd-rust-{minor}");
    let mut packages = Vec::new();
    for name in [driver.as_str(), "libstd-rust-dev"] {
        let same = |version: &str| version == compiler.version;
        packages.push(apt::download(cx, name, same, &incoming)?);
    }
    packages.push(compiler.clone());
    prebuilt::install(cx, "rustc", &packages, &dir(cx).join(release))
}
