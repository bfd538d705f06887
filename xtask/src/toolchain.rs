// SPDX-License-Identifier: GPL-2.0
//! The tools that compile Rust for the kernel: rustc, the library source of the same version,
//! bindgen and libclang.
//!
//! `rust-toolchain.toml` chooses the rustc. The rest follows from that choice, and goes into the
//! cache.

mod newer;

pub use newer::reaches;

use crate::context::Context;
use crate::provision::Llvm;
use crate::step::Step;
use crate::target::Target;
use crate::{apt, place, tool};
use anyhow::{bail, Context as _, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xshell::cmd;

/// The oldest libclang that the kernel and bindgen take.
const LIBCLANG_MIN: u32 = 17;

/// Longest time that rustup may take. If its server is out of reach, waiting longer is of no use.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(120);

/// The complete toolchain, ready for use.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: Rustc,
    /// Source of the Rust library, for `RUST_LIB_SRC`.
    pub library: PathBuf,
    /// The bindgen program.
    pub bindgen: PathBuf,
    /// The libclang for it.
    pub libclang: Libclang,
}

/// The compiler that `rust-toolchain.toml` chooses.
#[derive(Clone, Debug)]
pub struct Rustc {
    /// Where its programs and libraries are.
    pub sysroot: PathBuf,
    /// Its release, such as `1.95.0`.
    pub release: String,
}

/// A libclang.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Libclang {
    /// Its major version.
    pub version: u32,
    /// The directory it is in, for `LIBCLANG_PATH`.
    pub dir: PathBuf,
}

impl fmt::Display for Libclang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} in {}", self.version, self.dir.display())
    }
}

impl Toolchain {
    /// Gets the toolchain ready. The caller has already ensured what [`provision::for_build`]
    /// lists.
    pub fn ready(cx: &Context) -> Result<Self> {
        let rustc = rustc(cx)?;
        let Some(libclang) = libclang() else {
            bail!("no libclang {LIBCLANG_MIN} or later: see `cargo xtask doctor`");
        };
        let _lock = cx.lock("tools")?;
        let library = match find_library(cx, &rustc) {
            Some(library) => library,
            None => get_library(cx, &rustc)?,
        };
        let bindgen = tool::BINDGEN.get(cx)?;
        Ok(Self {
            rustc,
            library,
            bindgen,
            libclang,
        })
    }

    /// Adapts the toolchain to a kernel for that target and built with that LLVM. It gets the
    /// LLVM's own libclang, and a newer rustc if the tree needs one for the target.
    pub fn suit(
        mut self,
        cx: &Context,
        tree: &Path,
        target: &Target,
        llvm: Option<&Llvm>,
    ) -> Result<Self> {
        if let (Some(llvm), None) = (llvm, std::env::var_os("LIBCLANG_PATH")) {
            let own = libclangs().find(|found| found.version == llvm.version);
            self.libclang = own.unwrap_or(self.libclang);
        }
        let least = newer::least(tree, target)?;
        if newer::reaches(&self.rustc.release, &least) {
            return Ok(self);
        }
        let _lock = cx.lock("tools")?;
        self.rustc = newer::rustc(cx, &least).with_context(|| {
            format!(
                "for {}, this tree wants rustc {least} or later; here is {}",
                target.name, self.rustc.release
            )
        })?;
        if find_library(cx, &self.rustc).is_none() {
            library_from_debian(cx, &self.rustc)?;
        }
        self.library = find_library(cx, &self.rustc).context("its library has no source")?;
        Ok(self)
    }

    /// Sets up the environment of a kernel build: these tools, and nothing that cargo or the user's
    /// shell has set for other purposes.
    pub fn equip(&self, command: &mut Command) -> Result<()> {
        for (name, _) in std::env::vars_os() {
            if leaks(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let bindgen = self
            .bindgen
            .parent()
            .context("bindgen is not in a directory")?;
        let first = [self.rustc.sysroot.join("bin"), bindgen.to_path_buf()];
        // In a shell that took over these variables, the two directories are already first.
        let others = std::env::split_paths(&path).filter(|dir| !first.contains(dir));
        let path = std::env::join_paths(first.iter().cloned().chain(others))
            .context("a directory of the toolchain has a colon in its name")?;
        command
            .env("PATH", path)
            .env("RUST_LIB_SRC", &self.library)
            .env("LIBCLANG_PATH", &self.libclang.dir)
            .env("LC_ALL", "C");
        Ok(())
    }
}

/// Whether a variable of our own environment would change a kernel build.
fn leaks(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "LD_LIBRARY_PATH",
        "ARCH",
        "CROSS_COMPILE",
        "LLVM",
        "O",
        "V",
        "MFLAGS",
        "SUBARCH",
    ];
    const PREFIXES: &[&str] = &["CARGO", "RUST", "KBUILD_", "KCONFIG_", "MAKE"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the compiler that `rust-toolchain.toml` chooses.
pub fn rustc(cx: &Context) -> Result<Rustc> {
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

/// Returns the library source, if it is on the machine or in the cache.
pub fn find_library(cx: &Context, rustc: &Rustc) -> Option<PathBuf> {
    [
        rustc.sysroot.join("lib/rustlib/src/rust/library"),
        cached_library(cx, rustc).join("library"),
    ]
    .into_iter()
    .find(|dir| dir.join("core/src/lib.rs").exists())
}

fn cached_library(cx: &Context, rustc: &Rustc) -> PathBuf {
    cx.cache
        .join("tools")
        .join(format!("rust-src-{}", rustc.release))
}

/// Gets the library source. Debian's package is tried first, because it leaves the user's toolchain
/// as it is.
fn get_library(cx: &Context, rustc: &Rustc) -> Result<PathBuf> {
    let error = match library_from_debian(cx, rustc) {
        Ok(()) => None,
        Err(debian) => library_from_rustup(cx).err().map(|rustup| (debian, rustup)),
    };
    match (find_library(cx, rustc), error) {
        (Some(library), _) => Ok(library),
        (None, Some((debian, rustup))) => bail!(
            "no source of the Rust library of {}\nDebian: {debian:#}\nrustup: {rustup:#}\n\
             next: run `rustup component add rust-src` where its server is in reach",
            rustc.release
        ),
        (None, None) => bail!(
            "the source of the Rust library {} has no core",
            rustc.release
        ),
    }
}

fn library_from_debian(cx: &Context, rustc: &Rustc) -> Result<()> {
    let dest = cached_library(cx, rustc);
    let fits = |version: &str| {
        version
            .strip_prefix(&rustc.release)
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

fn library_from_rustup(cx: &Context) -> Result<()> {
    let sh = cx.shell()?;
    let rustup = cmd!(sh, "rustup component add rust-src").env("RUSTUP_MAX_RETRIES", "0");
    Step::new(cx, "Add rust-src with rustup", rustup)
        .deadline(RUSTUP_DEADLINE)
        .run()
        .map(drop)
}

/// Returns the oldest libclang that is new enough, so that another one on the machine changes
/// nothing. A directory that the user names with `LIBCLANG_PATH` comes first.
pub fn libclang() -> Option<Libclang> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    if let Some(found) = named.as_deref().and_then(libclang_in) {
        return Some(found);
    }
    libclangs().min()
}

/// Returns the libclangs on the machine, the newest of each directory.
fn libclangs() -> impl Iterator<Item = Libclang> {
    let mut dirs = vec![
        PathBuf::from("/usr/lib"),
        "/usr/lib64".into(),
        "/usr/local/lib".into(),
    ];
    for entry in std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with("llvm") {
            dirs.push(entry.path().join("lib"));
        }
    }
    dirs.into_iter().filter_map(|dir| libclang_in(&dir))
}

/// Returns the newest libclang in a directory, if it is new enough.
fn libclang_in(dir: &Path) -> Option<Libclang> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let versions = entries.filter_map(|entry| {
        let file = entry.path().canonicalize().ok()?;
        libclang_version(&file.file_name()?.to_string_lossy())
    });
    let version = versions.max().filter(|version| *version >= LIBCLANG_MIN)?;
    Some(Libclang {
        version,
        dir: dir.to_path_buf(),
    })
}

/// Returns the major version in a file name such as `libclang-19.so.19` or `libclang.so.19.1.7`.
fn libclang_version(name: &str) -> Option<u32> {
    let (stem, suffix) = name.strip_prefix("libclang")?.split_once(".so")?;
    let version = match stem.strip_prefix('-') {
        Some(version) => version,
        None if stem.is_empty() => suffix.strip_prefix('.')?,
        None => return None,
    };
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_by_its_file_name() {
        for (name, version) in [
            ("libclang-19.so.19", Some(19)),
            ("libclang-14.so.14.0.6", Some(14)),
            ("libclang.so.21.1", Some(21)),
            ("libclang-19.1.7.so", Some(19)),
            ("libclang-cpp.so.19.1", None),
            ("libclangAST.a", None),
            ("libclang.so", None),
        ] {
            assert_eq!(libclang_version(name), version, "{name}");
        }
    }

    #[test]
    fn an_old_libclang_will_not_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("libclang-14.so.1"), "").unwrap();
        assert_eq!(libclang_in(dir.path()), None);
        std::fs::write(dir.path().join("libclang-20.so.1"), "").unwrap();
        assert_eq!(libclang_in(dir.path()).unwrap().version, 20);
    }

    #[test]
    fn a_directory_that_is_on_the_path_already_is_not_put_there_again() {
        let path = std::env::var_os("PATH").unwrap();
        let mut dirs = std::env::split_paths(&path);
        let bin = dirs.find(|dir| dir.ends_with("bin")).unwrap();
        let tools = Toolchain {
            rustc: Rustc {
                sysroot: bin.parent().unwrap().into(),
                release: String::new(),
            },
            library: PathBuf::new(),
            bindgen: "/tools/bindgen".into(),
            libclang: Libclang {
                version: 19,
                dir: PathBuf::new(),
            },
        };
        let mut command = Command::new("make");
        tools.equip(&mut command).unwrap();
        let (_, equipped) = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .unwrap();
        let equipped: Vec<_> = std::env::split_paths(equipped.unwrap()).collect();
        assert_eq!(equipped[..2], [bin.clone(), "/tools".into()]);
        assert_eq!(equipped.iter().filter(|dir| **dir == bin).count(), 1);
    }

    #[test]
    fn what_cargo_sets_does_not_reach_the_kernel_build() {
        for name in [
            "CARGO_HOME",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "MAKEFLAGS",
            "ARCH",
            "KBUILD_OUTPUT",
        ] {
            assert!(leaks(name), "{name}");
        }
        for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
            assert!(!leaks(name), "{name}");
        }
    }
}
