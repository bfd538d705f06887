// SPDX-License-Identifier: GPL-2.0

//! The simulated kernel: plain data in cells, so that the core can call in from anywhere.

use crate::code::Code;
use crate::faults::Faults;
use crate::interruption::Interruptions;
use crate::structures::Structures;
use crate::tasks::Machine;
use crate::trace::Events;
use crate::tracer::Ftrace;
use kernel::prelude::*;

/// Everything that the core sees of the kernel.
#[derive(Default)]
pub struct Simulation {
    /// Tasks and CPUs.
    pub machine: Machine,
    /// Functions and their addresses.
    pub code: Code,
    /// ftrace.
    pub ftrace: Ftrace,
    /// Patches as their modules describe them, modules, and sysfs.
    pub structures: Structures,
    /// The failures that are to come.
    pub faults: Faults,
    /// The steps that are to happen in the middle of the core's operations.
    pub interruptions: Interruptions,
    /// The events that the core has reported.
    pub events: Events,
}

/// Allocates memory for the kernel itself, so that `kernel::alloc::fail_after` covers it too.
pub(crate) fn allocate() -> Result {
    KBox::new((), GFP_KERNEL)?;
    Ok(())
}
