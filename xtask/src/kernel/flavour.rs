// SPDX-License-Identifier: GPL-2.0
//! The kernels that can be built of one tree for one target: their cores and configurations.

use crate::tools::need::{Llvm, LLVM_19};
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
}

impl Flavour {
    /// Returns the LLVM to build this flavour with. It is the target's LLVM, if the target needs
    /// one. Otherwise only the debug flavour needs one: Kconfig allows KASAN together with Rust
    /// only if the C compiler is clang.
    pub fn llvm(self, target: &Target) -> Option<&'static Llvm> {
        target.llvm.or(match self {
            Self::Plain | Self::Fault | Self::Bpf | Self::Without => None,
            Self::Debug => Some(&LLVM_19),
        })
    }

    /// Returns the suffix for file names, which follows the architecture and the core.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Fault => "-fault",
            Self::Bpf => "-bpf",
            Self::Without => "-without",
            Self::Debug => "-debug",
        }
    }

    /// Returns how many times slower than a plain kernel this flavour is.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Plain | Self::Fault | Self::Bpf | Self::Without => 1,
            Self::Debug => 8,
        }
    }
}
