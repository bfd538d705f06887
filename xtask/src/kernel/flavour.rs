// SPDX-License-Identifier: GPL-2.0
//! The kernels that can be built of one tree for one target: their cores and configurations.

use crate::tools::need::{Llvm, LLVM_19, LLVM_22};
use crate::tools::target::Target;
use std::fmt;

/// The livepatch core of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Core {
    /// The C core that the tree comes with.
    C,
    /// The Rust core.
    Rust,
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C => "c",
            Self::Rust => "rust",
        })
    }
}

impl Core {
    /// Returns its name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "C core",
            Self::Rust => "Rust core",
        }
    }
}

/// The configuration of a kernel beyond its livepatch core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Only what live patching and its tests need.
    Plain,
    /// Allocations can be made to fail.
    Fault,
    /// BPF programs can be put on functions.
    Bpf,
    /// Without live patching.
    Without,
    /// Allocations can be made to fail, and debug checks are on: KASAN, lockdep, kmemleak and the
    /// like. Slow.
    Debug,
    /// Built with clang.
    Clang,
    /// The C helpers are inlined into Rust code.
    ClangInline,
    /// Indirect calls are checked for the type of the function.
    Cfi,
    /// C code is optimized as it is linked.
    ThinLto,
    /// Nearly everything can be preempted.
    Rt,
    /// Modules carry the versions of the symbols they use.
    ModVersions,
    /// Data races are detected. Slow.
    Kcsan,
    /// The second CPU has no tick while a single task runs there.
    NoHzFull,
    /// ftrace knows functions written in Rust.
    RustTrace,
    /// A distribution's userspace boots on it, and debuggers know its data.
    Distribution,
}

/// What a flavour consists of.
struct Parts {
    /// Its fragments in `xtask/kconfig/`, without the extension.
    fragments: &'static [&'static str],
    /// The LLVM that it has to be built with, if gcc will not do.
    llvm: Option<&'static Llvm>,
    /// How many times slower than a plain kernel it is.
    slowness: u32,
    /// Words for the kernel's command line.
    boot_args: &'static str,
}

/// What differs least from a plain kernel.
const PLAIN: Parts = Parts {
    fragments: &[],
    llvm: None,
    slowness: 1,
    boot_args: "",
};

impl Flavour {
    fn parts(self) -> Parts {
        // Where LLVM's bitcode or its types of functions have to agree, it is the LLVM that rustc
        // is made with.
        let clang = |fragments| Parts {
            fragments,
            llvm: Some(&LLVM_22),
            ..PLAIN
        };
        let gcc = |fragments| Parts { fragments, ..PLAIN };
        match self {
            Self::Plain => PLAIN,
            Self::Fault => gcc(&["fault"]),
            Self::Bpf => gcc(&["bpf"]),
            Self::Without => gcc(&["without"]),
            Self::Debug => Parts {
                fragments: &["fault", "debug"],
                // Kconfig allows KASAN together with Rust only if the C compiler is clang.
                llvm: Some(&LLVM_19),
                slowness: 8,
                boot_args: "",
            },
            Self::Clang => clang(&["clang"]),
            Self::ClangInline => clang(&["clang", "clang-inline"]),
            Self::Cfi => clang(&["clang", "cfi"]),
            Self::ThinLto => clang(&["clang", "thinlto"]),
            Self::Rt => gcc(&["rt"]),
            Self::ModVersions => gcc(&["modversions"]),
            Self::Kcsan => Parts {
                slowness: 8,
                ..gcc(&["kcsan"])
            },
            Self::NoHzFull => Parts {
                boot_args: "nohz_full=1",
                ..gcc(&["nohz"])
            },
            Self::RustTrace => gcc(&["rust-trace"]),
            Self::Distribution => Parts {
                // The kernel has no ACPI to find QEMU's fw_cfg with, where it says how to read it.
                boot_args: "qemu_fw_cfg.ioport=12@0x510:0:1:4",
                ..gcc(&["distribution"])
            },
        }
    }

    /// Returns its fragments in `xtask/kconfig/`, without the extension, in order.
    pub fn fragments(self) -> &'static [&'static str] {
        self.parts().fragments
    }

    /// Returns the LLVM to build this flavour with. It is the target's LLVM, if the target needs
    /// one. Otherwise only some flavours need one.
    pub fn llvm(self, target: &Target) -> Option<&'static Llvm> {
        target.llvm.or(self.parts().llvm)
    }

    /// Returns the suffix for file names, which follows the architecture and the core.
    pub fn suffix(self) -> String {
        let last = self.parts().fragments.last();
        last.map_or_else(String::new, |name| format!("-{name}"))
    }

    /// Returns how many times slower than a plain kernel this flavour is.
    pub fn slowness(self) -> u32 {
        self.parts().slowness
    }

    /// Returns the words that this flavour adds to the kernel's command line.
    pub fn boot_args(self) -> &'static str {
        self.parts().boot_args
    }
}
