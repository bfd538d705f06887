// SPDX-License-Identifier: GPL-2.0
//! What the machine needs, and getting it.

use crate::context::Context;
use crate::target::Target;
use anyhow::Result;

/// Something that must be on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What it is called.
    pub name: &'static str,
    /// How to tell that it is there.
    pub probe: Probe,
    /// Debian packages that have it, in order of preference; the first that can be installed is taken.
    pub packages: &'static [&'static str],
}

/// How to tell that something is there.
#[derive(Clone, Copy, Debug)]
pub enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A header that the host's compiler finds.
    Header(&'static str),
    /// A file.
    File(&'static str),
    /// A libclang that bindgen can use.
    Libclang,
}

/// What building a kernel for that target needs.
pub fn for_build(_target: &'static Target) -> Vec<Need> {
    Vec::new()
}

/// What booting a kernel for that target, with a guest made of Debian packages, needs.
pub fn for_guest(_target: &'static Target) -> Vec<Need> {
    Vec::new()
}

/// Sees that all of it is there: installs what is missing where that is allowed, and otherwise fails with
/// the one command that does.
pub fn ensure(_cx: &Context, _needs: &[Need]) -> Result<()> {
    Ok(())
}
