// SPDX-License-Identifier: GPL-2.0
//! Finds out what the machine lacks, and installs it.

use crate::tools::apt;
use crate::tools::context::Context;
use crate::tools::need::{header, program, Need, Probe};
use crate::tools::target::Target;
use anyhow::{bail, Context as _, Result};

/// What every kernel build runs or includes on the host.
const BUILD: &[Need] = &[
    program("make", &["make"]),
    program("gcc", &["gcc"]),
    program("ld", &["binutils"]),
    program("flex", &["flex"]),
    program("bison", &["bison"]),
    program("bc", &["bc"]),
    PERL,
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

/// What runs the tree's scripts.
pub const PERL: Need = program("perl", &["perl"]);

/// The program that makes the type information for BPF.
pub const PAHOLE: Need = program("pahole", &["pahole", "dwarves"]);

/// The program that keeps what compilers have made, for the next time.
pub const CCACHE: Need = Need {
    name: "ccache",
    probe: Probe::File(CCACHE_COMPILERS),
    packages: &["ccache"],
};

/// Where the package has a link to ccache for each compiler.
pub const CCACHE_COMPILERS: &str = "/usr/lib/ccache";

/// Returns what it takes to build a kernel for that target.
pub fn for_build(target: &'static Target) -> Vec<Need> {
    let mut needs = BUILD.to_vec();
    if !target.is_host() {
        let probe = Probe::Compiler(target.cross_compile());
        needs.push(Need {
            name: "cross compiler",
            probe,
            packages: target.cross_packages,
        });
        let probe = Probe::Libc(target.cross_compile());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::target::TARGETS;

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
