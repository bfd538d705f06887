// SPDX-License-Identifier: GPL-2.0
//! Finds out what the machine lacks, and installs it.

use crate::apt;
use crate::context::Context;
use crate::target::Target;
use crate::toolchain;
use anyhow::{bail, Context as _, Result};
use std::path::{Path, PathBuf};
use xshell::{cmd, Shell};

/// Something that must be on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: &'static str,
    /// How to tell that it is there.
    pub probe: Probe,
    /// Debian packages that provide it, best first. The first one that can be installed is taken.
    pub packages: &'static [&'static str],
}

/// How to tell that something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A shared library that the host's loader finds.
    Library(&'static str),
    /// A header that the host's compiler finds.
    Header(&'static str),
    /// A C compiler for the target.
    Compiler(&'static Target),
    /// A static C library for that compiler.
    Libc(&'static Target),
    /// A libclang that bindgen can use.
    Libclang,
    /// A file.
    File(&'static str),
}

const fn program(name: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        name,
        probe: Probe::Program(name),
        packages,
    }
}

const fn header(name: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        name,
        probe: Probe::Header(name),
        packages,
    }
}

/// What every kernel build runs or includes on the host.
const BUILD: &[Need] = &[
    program("make", &["make"]),
    program("gcc", &["gcc"]),
    program("ld", &["binutils"]),
    program("flex", &["flex"]),
    program("bison", &["bison"]),
    program("bc", &["bc"]),
    program("perl", &["perl"]),
    program("python3", &["python3"]),
    program("git", &["git"]),
    program("tar", &["tar"]),
    program("xz", &["xz-utils"]),
    program("cmp", &["diffutils"]),
    program("find", &["findutils"]),
    header("stdio.h", &["libc6-dev"]),
    header("libelf.h", &["libelf-dev"]),
    header("openssl/opensslv.h", &["libssl-dev"]),
    Need {
        name: "libclang 17 or later",
        probe: Probe::Libclang,
        packages: &[
            "libclang-19-dev",
            "libclang-22-dev",
            "libclang-21-dev",
            "libclang-20-dev",
            "libclang-18-dev",
            "libclang-17-dev",
        ],
    },
];

/// What the host needs to make and run any guest.
const GUEST: &[Need] = &[
    program("mmdebstrap", &["mmdebstrap"]),
    program("setpriv", &["util-linux"]),
];

/// A version of LLVM that kernels are built with.
#[derive(Debug, PartialEq, Eq)]
pub struct Llvm {
    /// Its major version.
    pub version: u32,
    /// The programs that must be installed.
    pub needs: [Need; 3],
}

impl Llvm {
    /// Returns the suffix of its programs' names, which is the value of `LLVM=`.
    pub fn suffix(&self) -> String {
        format!("-{}", self.version)
    }
}

/// The LLVM for flavours that gcc cannot build.
pub static LLVM_19: Llvm = Llvm {
    version: 19,
    needs: [
        program("clang-19", &["clang-19"]),
        program("ld.lld-19", &["lld-19"]),
        program("llvm-ar-19", &["llvm-19"]),
    ],
};

/// The LLVM for targets that older versions cannot build.
pub static LLVM_22: Llvm = Llvm {
    version: 22,
    needs: [
        program("clang-22", &["clang-22"]),
        program("ld.lld-22", &["lld-22"]),
        program("llvm-ar-22", &["llvm-22"]),
    ],
};

/// The program that makes the type information for BPF.
pub const PAHOLE: Need = program("pahole", &["pahole", "dwarves"]);

/// Returns what it takes to build a kernel for that target.
pub fn for_build(target: &'static Target) -> Vec<Need> {
    let mut needs = BUILD.to_vec();
    if !target.is_host() {
        let probe = Probe::Compiler(target);
        needs.push(Need {
            name: "cross compiler",
            probe,
            packages: target.cross_packages,
        });
        let probe = Probe::Libc(target);
        needs.push(Need {
            name: "C library for it",
            probe,
            packages: target.libc_packages,
        });
    }
    needs.extend(target.llvm.iter().flat_map(|llvm| llvm.needs));
    needs
}

/// Returns what it takes to boot a kernel for that target, with a guest made of Debian packages.
pub fn for_guest(target: &'static Target) -> Vec<Need> {
    let mut needs = GUEST.to_vec();
    needs.push(program(target.qemu, target.qemu_packages));
    needs
}

impl Need {
    /// Returns where it is or what it is, or `None` if it is missing.
    pub fn find(&self) -> Option<String> {
        match self.probe {
            Probe::Program(name) => on_path(name).map(|path| path.display().to_string()),
            Probe::Library(name) => library(name),
            Probe::Header(name) => finds_header(name).then(|| "found by the compiler".into()),
            Probe::Compiler(target) => {
                let name = format!("{}gcc", target.cross_compile());
                on_path(&name).map(|path| path.display().to_string())
            }
            Probe::Libc(target) => static_libc(target),
            Probe::Libclang => toolchain::libclang().map(|found| found.to_string()),
            Probe::File(path) => Path::new(path).exists().then(|| path.into()),
        }
    }
}

/// Ensures that all needs are met. Installs what is missing if that is allowed, and otherwise fails
/// with the one command that does.
pub fn ensure(cx: &Context, needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|need| need.packages).collect();
    apt::install(cx, &packages).with_context(|| format!("missing here: {}", names(&missing)))?;
    let still = self::missing(&missing);
    if !still.is_empty() {
        bail!(
            "still not found after installing: {}: see `cargo xtask doctor`",
            names(&still)
        );
    }
    Ok(())
}

/// Returns the needs that are not met.
pub fn missing(needs: &[Need]) -> Vec<Need> {
    needs
        .iter()
        .filter(|need| need.find().is_none())
        .copied()
        .collect()
}

fn names(needs: &[Need]) -> String {
    needs
        .iter()
        .map(|need| need.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the path of a program. Also searches the directories of administrators' programs, which
/// a user's `PATH` may lack.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns the path of the static C library. A compiler that does not find the file prints only its
/// name.
fn static_libc(target: &Target) -> Option<String> {
    let sh = Shell::new().ok()?;
    let compiler = format!("{}gcc", target.cross_compile());
    let libc = cmd!(sh, "{compiler} -print-file-name=libc.a").ignore_stderr();
    libc.read().ok().filter(|path| path.starts_with('/'))
}

/// Returns the path of a shared library. The cache of the host's loader lists it as `libx.so.1
/// (libc6,x86-64) => /path`.
fn library(name: &str) -> Option<String> {
    let sh = Shell::new().ok()?;
    let ldconfig = on_path("ldconfig")?;
    let list = cmd!(sh, "{ldconfig} -p").ignore_stderr().read().ok()?;
    let mut lines = list.lines().map(str::trim);
    let line = lines.find(|line| line.split(' ').next() == Some(name))?;
    Some(line.rsplit("=> ").next().unwrap_or_default().to_owned())
}

fn finds_header(name: &str) -> bool {
    let Ok(sh) = Shell::new() else {
        return false;
    };
    let compile = cmd!(sh, "gcc -E -x c -include {name} /dev/null -o /dev/null");
    compile.ignore_stderr().read().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    #[test]
    fn a_missing_program_is_found_missing() {
        let there = program("sh", &[]);
        let gone = program("no-such-program", &["no-such-package"]);
        let missing = missing(&[there, gone]);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].name, gone.name);
    }

    #[test]
    fn every_need_says_how_to_get_it() {
        for target in TARGETS {
            for need in for_build(target).iter().chain(&for_guest(target)) {
                assert!(!need.packages.is_empty(), "{}", need.name);
            }
        }
    }
}
