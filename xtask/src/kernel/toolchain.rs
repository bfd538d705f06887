// SPDX-License-Identifier: GPL-2.0
//! The tools that compile Rust for the kernel: rustc, the library source of the same version,
//! bindgen and libclang.
//!
//! `rust-toolchain.toml` chooses the rustc. The rest follows from that choice, and goes into the
//! cache.

use crate::kernel::newer;
use crate::kernel::rustc::{self, Rustc};
use crate::tools::context::Context;
use crate::tools::libclang::{self, Libclang};
use crate::tools::need::{reaches, Llvm};
use crate::tools::provision;
use crate::tools::target::Target;
use crate::tools::tool;
use anyhow::{bail, Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// Where ccache keeps what it compiles, if it is to be used.
    pub ccache: Option<PathBuf>,
}

impl Toolchain {
    /// Gets the toolchain ready. The caller has already ensured what `provision::for_build` lists.
    pub fn ready(cx: &Context) -> Result<Self> {
        let rustc = rustc::chosen(cx)?;
        let Some(libclang) = libclang::oldest() else {
            let least = libclang::LEAST;
            bail!("no libclang {least} or later: see `cargo xtask doctor`");
        };
        let _lock = cx.lock("tools")?;
        let library = match rustc.library(cx) {
            Some(library) => library,
            None => rustc.get_library(cx)?,
        };
        let bindgen = tool::BINDGEN.get(cx)?;
        Ok(Self {
            rustc,
            library,
            bindgen,
            libclang,
            ccache: None,
        })
    }

    /// Uses ccache, for builds that compile the same source many times. The caller has already
    /// ensured `provision::CCACHE`.
    pub fn with_ccache(mut self, cx: &Context) -> Self {
        self.ccache = Some(cx.cache.join("ccache"));
        self
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
            let own = libclang::all().find(|found| found.version == llvm.version);
            self.libclang = own.unwrap_or(self.libclang);
        }
        let least = newer::least(tree, target)?;
        if reaches(&self.rustc.release, &least) {
            return Ok(self);
        }
        let _lock = cx.lock("tools")?;
        self.rustc = newer::rustc(cx, &least).with_context(|| {
            format!(
                "for {}, this tree wants rustc {least} or later; here is {}",
                target.name, self.rustc.release
            )
        })?;
        if self.rustc.library(cx).is_none() {
            self.rustc.library_from_debian(cx)?;
        }
        self.library = self
            .rustc
            .library(cx)
            .context("its library has no source")?;
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
        let mut first = vec![self.rustc.sysroot.join("bin"), bindgen.to_path_buf()];
        if let Some(dir) = &self.ccache {
            first.push(provision::CCACHE_COMPILERS.into());
            command.env("CCACHE_DIR", dir);
        }
        // In a shell that took over these variables, these directories are already first.
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

#[cfg(test)]
impl Toolchain {
    /// Returns a toolchain with the compiler in `sysroot`.
    pub fn for_test(sysroot: impl Into<PathBuf>) -> Self {
        Self {
            rustc: Rustc {
                sysroot: sysroot.into(),
                release: "1.95.0".into(),
            },
            library: "/the/library".into(),
            bindgen: "/the tools/bindgen".into(),
            libclang: Libclang {
                version: 19,
                dir: "/the/clang".into(),
            },
            ccache: None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_on_the_path_already_is_not_put_there_again() {
        let path = std::env::var_os("PATH").unwrap();
        let mut dirs = std::env::split_paths(&path);
        let bin = dirs.find(|dir| dir.ends_with("bin")).unwrap();
        let tools = Toolchain::for_test(bin.parent().unwrap());
        let mut command = Command::new("make");
        tools.equip(&mut command).unwrap();
        let (_, equipped) = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .unwrap();
        let equipped: Vec<_> = std::env::split_paths(equipped.unwrap()).collect();
        assert_eq!(equipped[..2], [bin.clone(), "/the tools".into()]);
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
