// SPDX-License-Identifier: GPL-2.0

//! The attributes of patches and objects in sysfs, as a model; the kobjects are the bridge's.
//!
//! ```text
//! /sys/kernel/livepatch/<patch>/{enabled,transition,force,replace,stack_order,gear}
//! /sys/kernel/livepatch/<patch>/<object>/patched
//! /sys/kernel/livepatch/<patch>/<object>/<function,sympos>/
//! ```
//!
//! C counterpart: the sysfs part of `kernel/livepatch/core.c`.

use super::{
    dispatch::Gear,
    registry::Core,
    Kernel, //
};
use core::ffi::CStr;
use kernel::prelude::*;

/// An attribute of a patch that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// Disable the patch, or turn its transition round.
    Enabled,
    /// Force its transition.
    Force,
}

/// Parses a boolean as `kstrtobool()` does: by its first letter, for on and off by two.
///
/// Errors: `EINVAL`.
pub fn parse_bool(input: &[u8]) -> Result<bool> {
    match input {
        [b'e' | b'E' | b'y' | b'Y' | b't' | b'T' | b'1', ..] => Ok(true),
        [b'd' | b'D' | b'n' | b'N' | b'f' | b'F' | b'0', ..] => Ok(false),
        [b'o' | b'O', b'n' | b'N', ..] => Ok(true),
        [b'o' | b'O', b'f' | b'F', ..] => Ok(false),
        _ => Err(EINVAL),
    }
}

/// Parses a gear by its name, a newline allowed. Errors: `EINVAL`.
pub fn parse_gear(input: &[u8]) -> Result<Gear> {
    match input.strip_suffix(b"\n").unwrap_or(input) {
        b"handler" => Ok(Gear::Handler),
        b"settled" => Ok(Gear::Settled),
        _ => Err(EINVAL),
    }
}

/// The name of a gear; that of none is up to the transition.
pub fn gear_text(gear: Option<Gear>) -> &'static CStr {
    match gear {
        None => c"transition",
        Some(Gear::Handler) => c"handler",
        Some(Gear::Settled) => c"settled",
    }
}

impl<K: Kernel> Core<K> {
    /// Carries out what was written to an attribute of `patch`.
    ///
    /// Errors: `EINVAL` where it is not a boolean or asks for nothing that can be done, `EBUSY`
    /// during the transition of another patch.
    pub fn store(
        &mut self,
        kernel: &K,
        patch: K::Patch,
        attribute: Writable,
        value: bool,
    ) -> Result {
        match attribute {
            Writable::Enabled => self.set_enabled(kernel, patch, value),
            // To force nothing is no error, whatever the patch's state.
            Writable::Force if !value => Ok(()),
            Writable::Force => self.force_transition(kernel, patch),
        }
    }
}
