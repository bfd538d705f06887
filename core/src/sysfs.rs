// SPDX-License-Identifier: GPL-2.0

//! Sysfs: the logic of the attributes of patches and objects. The bridge owns the kobjects.
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
    patch::{
        Patch,
        Structures, //
    },
    registry::Core,
    symbol::Name,
    Kernel, //
};
use kernel::prelude::*;

/// What the core asks of sysfs.
pub trait Directories: Structures {
    /// Creates the patch's directory.
    fn publish_patch(&self, patch: &Patch<Self>) -> Result
    where
        Self: Kernel;
    /// Creates an object's directory below the directory of its patch.
    fn publish_object(
        &self,
        patch: &Self::Patch,
        object: &Self::Object,
        name: Option<&Name>,
    ) -> Result;
    /// Creates a function's directory `<name>,<position>` below the directory of its object.
    fn publish_function(
        &self,
        object: &Self::Object,
        function: &Self::Function,
        name: &Name,
        position: usize,
    ) -> Result;
}

/// An attribute of a patch that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// Disable the patch, or reverse its transition.
    Enabled,
    /// Force the patch's transition.
    Force,
}

/// Parses the name of a gear. A trailing newline is allowed. Errors: `EINVAL`.
pub fn parse_gear(input: &[u8]) -> Result<Gear> {
    match input.strip_suffix(b"\n").unwrap_or(input) {
        b"handler" => Ok(Gear::Handler),
        b"settled" => Ok(Gear::Settled),
        _ => Err(EINVAL),
    }
}

/// Returns the name of a gear. Without a gear, the transition decides how calls go.
pub fn gear_text(gear: Option<Gear>) -> &'static str {
    match gear {
        None => "transition",
        Some(Gear::Handler) => "handler",
        Some(Gear::Settled) => "settled",
    }
}

impl<K: Kernel> Core<K> {
    /// Carries out a write of `value` to an attribute of `patch`.
    ///
    /// Errors: `EINVAL` if the request can't be carried out in the patch's state, `EBUSY` during
    /// the transition of another patch.
    pub fn store(
        &mut self,
        kernel: &K,
        patch: K::PatchId,
        attribute: Writable,
        value: bool,
    ) -> Result {
        match attribute {
            Writable::Enabled => self.set_enabled(kernel, patch, value),
            // A false value forces nothing. It is not an error, whatever the patch's state.
            Writable::Force if !value => Ok(()),
            Writable::Force => self.force_transition(kernel, patch),
        }
    }
}

#[cfg(test)]
#[kunit_tests(livepatch_sysfs)]
mod tests {
    use super::*;

    #[test]
    fn gears_have_names() {
        assert_eq!(gear_text(None), "transition");
        assert_eq!(gear_text(Some(Gear::Handler)), "handler");
        assert_eq!(gear_text(Some(Gear::Settled)), "settled");
    }

    #[test]
    fn a_gear_is_written_by_its_name() {
        assert_eq!(parse_gear(b"handler"), Ok(Gear::Handler));
        assert_eq!(parse_gear(b"handler\n"), Ok(Gear::Handler));
        assert_eq!(parse_gear(b"settled"), Ok(Gear::Settled));
        assert_eq!(parse_gear(b"settled\n"), Ok(Gear::Settled));
    }

    #[test]
    fn anything_else_is_no_gear() {
        for text in [
            "",
            "\n",
            "1",
            "settle",
            "Settled",
            "handler\n\n",
            "settled\n\n",
            " settled",
            "transition",
        ] {
            assert_eq!(parse_gear(text.as_bytes()), Err(EINVAL));
        }
    }
}
