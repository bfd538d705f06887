// SPDX-License-Identifier: GPL-2.0
//! Provides a rustc from Debian, in the cache, for targets that need a newer one than ours.
//!
//! It comes from a suite that the machine does not run, and is built for a newer C library. So it
//! brings that library along, and that library's own loader starts it.

use crate::kernel::rustc::Rustc;
use crate::tools::apt;
use crate::tools::context::Context;
use crate::tools::need::{reaches, Need, Probe};
use crate::tools::provision;
use crate::tools::target::Target;
use anyhow::{bail, Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use xshell::{cmd, Shell};

/// The libraries that the compiler is linked with, except for LLVM, which the machine has a package
/// of.
const LIBRARIES: &[&str] = &["libc6", "libgcc-s1", "libstdc++6"];

/// LLVM's library for the versions of rustc that are available.
const LLVM: Need = Need {
    name: "libLLVM 22",
    probe: Probe::Library("libLLVM.so.22.1"),
    packages: &["libllvm22"],
};

/// A script that starts the compiler, wherever the cache is.
const START: &str = "#!/bin/sh
root=$(dirname \"$(readlink -f \"$0\")\")/..
for loader in \"$root\"/usr/lib/*/ld-linux-*.so.*; do
\texec \"$loader\" --library-path \"$(dirname \"$loader\")\" \"$root/usr/bin/rustc\" \"$@\"
done
";

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
        let rustc = sysroot.join("bin/rustc");
        let sh = Shell::new().ok()?;
        let starts = cmd!(sh, "{rustc} --version").ignore_stderr().read().is_ok();
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
    for name in LIBRARIES {
        packages.push(apt::download(cx, name, |_| true, &incoming)?);
    }
    packages.push(compiler.clone());
    let dest = dir(cx).join(release);
    apt::unpack(cx, "Unpack a newer rustc", &packages, &dest, |partial| {
        let start = partial.join("bin/rustc");
        fs::create_dir_all(partial.join("bin"))?;
        fs::write(&start, START)?;
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })
}
