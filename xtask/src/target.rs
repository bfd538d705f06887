// SPDX-License-Identifier: GPL-2.0
//! The table of targets: all that xtask knows about architectures.
//!
//! A port adds one row here and `xtask/kconfig/<name>.config`.

use anyhow::{bail, Result};
use std::str::FromStr;

/// The target that is used where none is named.
pub const DEFAULT: &str = "x86_64";

/// One architecture: how to build a kernel for it, and how to boot that.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Our name: that of the directory below `arch/` and of `--arch`.
    pub name: &'static str,
    /// The kernel's name: `ARCH=`.
    pub kernel_arch: &'static str,
    /// Rust's name, as in [`std::env::consts::ARCH`]: tells whether the host is of this kind.
    pub rust_arch: &'static str,
    /// Debian's name: what the guest's packages are built for.
    pub debian_arch: &'static str,
    /// The make target of the bootable image.
    pub image_target: &'static str,
    /// The bootable image, below the object directory.
    pub image: &'static str,
    /// Prefix of the cross compiler, for hosts of another kind.
    pub cross: &'static str,
    /// Packages of the cross compiler, best first.
    pub cross_packages: &'static [&'static str],
    /// The emulator.
    pub qemu: &'static str,
    /// Packages of the emulator, best first.
    pub qemu_packages: &'static [&'static str],
    /// What the emulator needs besides kernel, initramfs, memory and CPUs.
    pub qemu_args: &'static [&'static str],
    /// The console's device, for `console=`.
    pub console: &'static str,
}

/// Every target.
pub static TARGETS: &[Target] = &[Target {
    name: "x86_64",
    kernel_arch: "x86",
    rust_arch: "x86_64",
    debian_arch: "amd64",
    image_target: "bzImage",
    image: "arch/x86/boot/bzImage",
    cross: "x86_64-linux-gnu-",
    cross_packages: &["gcc-x86-64-linux-gnu"],
    qemu: "qemu-system-x86_64",
    qemu_packages: &["qemu-system-x86"],
    qemu_args: &[],
    console: "ttyS0",
}];

impl Target {
    /// Whether the host is of this kind, so that its own compiler will do.
    pub fn is_host(&self) -> bool {
        self.rust_arch == std::env::consts::ARCH
    }

    /// `CROSS_COMPILE=`: empty on a host of the same kind.
    pub fn cross_compile(&self) -> &'static str {
        if self.is_host() {
            ""
        } else {
            self.cross
        }
    }
}

/// The target of that name.
pub fn find(name: &str) -> Result<&'static Target> {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => Ok(target),
        None => bail!("unknown architecture `{name}`: known are {}", names()),
    }
}

fn names() -> String {
    TARGETS
        .iter()
        .map(|target| target.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One target or all of them, as a flag names them, in the table's order.
#[derive(Clone, Debug)]
pub struct Selection(Vec<&'static Target>);

impl Selection {
    /// The targets, one at least.
    pub fn targets(&self) -> Vec<&'static Target> {
        self.0.clone()
    }
}

impl FromStr for Selection {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(Self(match name {
            "all" => TARGETS.iter().collect(),
            name => vec![find(name)?],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = find("vax").unwrap_err().to_string();
        assert!(error.contains("`vax`"), "{error}");
        for target in TARGETS {
            assert!(error.contains(target.name), "{error}");
        }
    }

    #[test]
    fn a_selection_is_one_target_or_all() {
        assert_eq!("all".parse::<Selection>().unwrap().0.len(), TARGETS.len());
        assert_eq!(
            DEFAULT.parse::<Selection>().unwrap().0,
            [find(DEFAULT).unwrap()]
        );
        assert!("vax".parse::<Selection>().is_err());
    }
}
