// SPDX-License-Identifier: GPL-2.0
//! What can be needed on the machine, and how to tell that it is there.

use crate::tools::libclang;
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
    /// A C compiler whose name has this prefix.
    Compiler(&'static str),
    /// A static C library for that compiler.
    Libc(&'static str),
    /// A libclang that bindgen can use.
    Libclang,
    /// A module that python3 can import.
    Python(&'static str),
    /// A file.
    File(&'static str),
}

/// Returns the need for a program.
pub const fn program(name: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        name,
        probe: Probe::Program(name),
        packages,
    }
}

/// Returns the need for a header.
pub const fn header(name: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        name,
        probe: Probe::Header(name),
        packages,
    }
}

impl Need {
    /// Returns where it is or what it is, or `None` if it is missing.
    pub fn find(&self) -> Option<String> {
        match self.probe {
            Probe::Program(name) => on_path(name).map(|path| path.display().to_string()),
            Probe::Library(name) => library(name),
            Probe::Header(name) => finds_header(name).then(|| "found by the compiler".into()),
            Probe::Compiler(cross) => {
                on_path(&format!("{cross}gcc")).map(|path| path.display().to_string())
            }
            Probe::Libc(cross) => static_libc(cross),
            Probe::Libclang => libclang::oldest().map(|found| found.to_string()),
            Probe::Python(module) => imports(module).then(|| "python3 imports it".into()),
            Probe::File(path) => Path::new(path).exists().then(|| path.into()),
        }
    }
}

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

/// Returns the path of a program. Also searches the directories of administrators' programs, which
/// a user's `PATH` may lack.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether this is a program.
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns the path of the static C library. A compiler that does not find the file prints only its
/// name.
fn static_libc(cross: &str) -> Option<String> {
    let sh = Shell::new().ok()?;
    let libc = cmd!(sh, "{cross}gcc -print-file-name=libc.a").ignore_stderr();
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

fn imports(module: &str) -> bool {
    let Ok(sh) = Shell::new() else {
        return false;
    };
    let import = format!("import {module}");
    cmd!(sh, "python3 -c {import}")
        .ignore_stderr()
        .read()
        .is_ok()
}

/// Whether a release is `least` or later.
pub fn reaches(release: &str, least: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        let numbers = text.split(['.', '-', '+', '~']).map(str::parse);
        numbers.map_while(Result::ok).collect()
    };
    numbers(release) >= numbers(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, least, enough) in [
            ("1.95.0", "1.85.0", true),
            ("1.95.0", "1.95.0", true),
            ("1.95.0", "1.96.0", false),
            ("1.100.0", "1.96.0", true),
            ("1.96.1+dfsg1-2~bpo13+1", "1.96.0", true),
            ("1.95.0+dfsg1-2", "1.96.0", false),
            ("1.97.0-nightly", "1.97.0", true),
        ] {
            assert_eq!(reaches(release, least), enough, "{release} {least}");
        }
    }
}
