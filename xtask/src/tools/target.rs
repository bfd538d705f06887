// SPDX-License-Identifier: GPL-2.0
//! The table of targets: all that xtask knows about architectures.
//!
//! A port adds one row here and `xtask/kconfig/<name>.config`.

use crate::tools::need::{Llvm, LLVM_19, LLVM_22};
use anyhow::{bail, Result};
use livepatch_arch::BACKENDS;
use std::str::FromStr;

/// The target that is used where none is named.
pub const DEFAULT: &str = "x86_64";

/// One architecture: how to build a kernel for it, and how to boot that.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Our name, used for the directory below `arch/` and for `--arch`.
    pub name: &'static str,
    /// The kernel's name, for `ARCH=`.
    pub kernel_arch: &'static str,
    /// Rust's name, as in [`std::env::consts::ARCH`]. It tells whether the host has this
    /// architecture.
    pub rust_arch: &'static str,
    /// Rust's name of what programs for it are compiled for.
    pub triple: &'static str,
    /// Debian's name. The guest's packages are built for it.
    pub debian_arch: &'static str,
    /// Debian's suite that these packages come from, for an architecture that older suites do not
    /// have. `None` is the host's own suite.
    pub suite: Option<&'static str>,
    /// The make target of the bootable image.
    pub image_target: &'static str,
    /// The bootable image, below the object directory.
    pub image: &'static str,
    /// Prefix of the cross compiler, for hosts of another architecture.
    pub cross: &'static str,
    /// Packages of the cross compiler, best first.
    pub cross_packages: &'static [&'static str],
    /// Packages of the C library for the cross compiler, best first.
    pub libc_packages: &'static [&'static str],
    /// The LLVM that its kernels need. `None` means that gcc is enough, which compiles about twice
    /// as fast.
    pub llvm: Option<&'static Llvm>,
    /// Whether a kernel with BPF can be built: `xtask/kconfig/bpf.config`.
    pub bpf: bool,
    /// The emulator.
    pub qemu: &'static str,
    /// Packages of the emulator, best first.
    pub qemu_packages: &'static [&'static str],
    /// A newer emulator, if not every version works.
    pub newer_qemu: Option<Newer>,
    /// What the emulator needs besides kernel, initramfs, memory and CPUs.
    pub qemu_args: &'static [&'static str],
    /// Words for its kernels' command line: the console, and what the emulator makes necessary.
    pub boot_args: &'static str,
    /// Tests that cannot run on it with any core, and why.
    pub skips: &'static [(&'static str, &'static str)],
}

/// An emulator that is newer than many machines have.
#[derive(Debug, PartialEq, Eq)]
pub struct Newer {
    /// The oldest version that works.
    pub least: &'static str,
    /// What older ones do wrong.
    pub why: &'static str,
    /// Debian's packages for it: the program and the files it reads, but not the libraries it is
    /// linked with.
    pub packages: &'static [&'static str],
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target {
        name: "x86_64",
        kernel_arch: "x86",
        rust_arch: "x86_64",
        triple: "x86_64-unknown-linux-gnu",
        debian_arch: "amd64",
        suite: None,
        image_target: "bzImage",
        image: "arch/x86/boot/bzImage",
        cross: "x86_64-linux-gnu-",
        cross_packages: &["gcc-x86-64-linux-gnu"],
        libc_packages: &["libc6-dev-amd64-cross"],
        llvm: None,
        bpf: true,
        qemu: "qemu-system-x86_64",
        qemu_packages: &["qemu-system-x86"],
        newer_qemu: None,
        qemu_args: &[],
        // On a busy host the kernel's test of the timer sees no tick in time, and the kernel
        // panics.
        boot_args: "console=ttyS0 no_timer_check",
        skips: &[],
    },
    Target {
        name: "arm64",
        kernel_arch: "arm64",
        rust_arch: "aarch64",
        triple: "aarch64-unknown-linux-gnu",
        debian_arch: "arm64",
        suite: None,
        image_target: "Image",
        image: "arch/arm64/boot/Image",
        cross: "aarch64-linux-gnu-",
        cross_packages: &["gcc-aarch64-linux-gnu"],
        libc_packages: &["libc6-dev-arm64-cross"],
        llvm: None,
        bpf: false,
        qemu: "qemu-system-aarch64",
        qemu_packages: &["qemu-system-arm"],
        newer_qemu: None,
        // Emulating the architecture's own algorithm to sign pointers would take most of the time.
        qemu_args: &["-M", "virt", "-cpu", "max,pauth-impdef=on"],
        boot_args: "console=ttyAMA0",
        skips: &[("test-kprobe.sh", "arm64 has no kprobes on ftrace")],
    },
    Target {
        name: "s390",
        kernel_arch: "s390",
        rust_arch: "s390x",
        triple: "s390x-unknown-linux-gnu",
        debian_arch: "s390x",
        suite: None,
        image_target: "bzImage",
        image: "arch/s390/boot/bzImage",
        cross: "s390x-linux-gnu-",
        cross_packages: &["gcc-s390x-linux-gnu"],
        libc_packages: &["libc6-dev-s390x-cross"],
        llvm: None,
        bpf: false,
        qemu: "qemu-system-s390x",
        qemu_packages: &["qemu-system-s390x", "qemu-system-misc"],
        newer_qemu: Some(Newer {
            least: "8.0",
            why: "before, it goes on to run what a module had where another one is now",
            packages: &["qemu-system-s390x", "qemu-system-data"],
        }),
        qemu_args: &["-M", "s390-ccw-virtio"],
        boot_args: "console=ttysclp0",
        skips: &[],
    },
    Target {
        name: "powerpc",
        kernel_arch: "powerpc",
        rust_arch: "powerpc64",
        triple: "powerpc64le-unknown-linux-gnu",
        debian_arch: "ppc64el",
        suite: None,
        image_target: "vmlinux",
        image: "vmlinux",
        cross: "powerpc64le-linux-gnu-",
        cross_packages: &["gcc-powerpc64le-linux-gnu"],
        libc_packages: &["libc6-dev-ppc64el-cross"],
        // bindgen does not take the flags for gcc's `-mprofile-kernel`, and older clangs have no
        // other way to support ftrace.
        llvm: Some(&LLVM_22),
        bpf: false,
        qemu: "qemu-system-ppc64",
        qemu_packages: &["qemu-system-ppc"],
        newer_qemu: None,
        // The usual firmware takes far longer than the rest of a boot. Setting a firmware variable
        // makes the emulator lay out the memory for such variables. The kernel warns if that memory
        // is blank.
        qemu_args: &[
            "-M",
            "pseries,x-vof=on",
            "-cpu",
            "power9",
            "-prom-env",
            "boot-command=none",
        ],
        boot_args: "console=hvc0",
        skips: &[],
    },
    Target {
        name: "riscv64",
        kernel_arch: "riscv",
        rust_arch: "riscv64",
        triple: "riscv64gc-unknown-linux-gnu",
        debian_arch: "riscv64",
        suite: Some("trixie"),
        image_target: "Image",
        image: "arch/riscv/boot/Image",
        cross: "riscv64-linux-gnu-",
        cross_packages: &["gcc-riscv64-linux-gnu"],
        libc_packages: &["libc6-dev-riscv64-cross"],
        // On this architecture, Kconfig allows Rust only if the C compiler is clang.
        llvm: Some(&LLVM_19),
        bpf: false,
        qemu: "qemu-system-riscv64",
        qemu_packages: &["qemu-system-riscv", "qemu-system-misc"],
        newer_qemu: None,
        qemu_args: &["-M", "virt"],
        boot_args: "console=ttyS0",
        skips: &[("test-kprobe.sh", "riscv has no kprobes on ftrace")],
    },
];

impl Target {
    /// Whether the host has this architecture, so that its own compiler can be used.
    pub fn is_host(&self) -> bool {
        self.rust_arch == std::env::consts::ARCH
    }

    /// Returns where a port in progress stops, as its backend says.
    fn in_progress(&self) -> Option<&'static str> {
        match BACKENDS.iter().find(|backend| backend.name == self.name) {
            Some(backend) => backend.in_progress,
            None => Some("it has no backend for the Rust core"),
        }
    }

    /// Returns a note for the user if the port is in progress.
    pub fn caveat(&self) -> Option<String> {
        let name = self.name;
        let why = self.in_progress()?;
        Some(format!(
            "note: {name} is in progress: {why}; see docs/porting.rst"
        ))
    }

    /// Returns the value of `CROSS_COMPILE=`, which is empty on a host of the same architecture.
    pub fn cross_compile(&self) -> &'static str {
        if self.is_host() {
            ""
        } else {
            self.cross
        }
    }
}

/// Returns the target of that name.
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

/// Returns all targets that are not in progress, in the table's order.
pub fn supported() -> impl Iterator<Item = &'static Target> {
    TARGETS
        .iter()
        .filter(|target| target.in_progress().is_none())
}

/// The targets that a flag names: one, or all that are not in progress, in the table's order.
#[derive(Clone, Debug)]
pub struct Selection(Vec<&'static Target>);

impl Selection {
    /// Returns the targets, at least one.
    pub fn targets(&self) -> Vec<&'static Target> {
        self.0.clone()
    }
}

impl FromStr for Selection {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(Self(match name {
            "all" => supported().collect(),
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
        assert_eq!(
            DEFAULT.parse::<Selection>().unwrap().0,
            [find(DEFAULT).unwrap()]
        );
        assert!("vax".parse::<Selection>().is_err());
    }

    #[test]
    fn a_target_in_progress_is_used_only_by_name_and_says_so() {
        let all = "all".parse::<Selection>().unwrap().0;
        for target in TARGETS {
            assert_eq!(target.name.parse::<Selection>().unwrap().0, [target]);
            let caveat = target.caveat();
            assert_eq!(all.contains(&target), caveat.is_none(), "{}", target.name);
            assert!(caveat.is_none_or(|text| text.contains(target.name)));
        }
        assert!(find("riscv64").unwrap().caveat().is_some());
        assert!(find(DEFAULT).unwrap().caveat().is_none());
    }
}
