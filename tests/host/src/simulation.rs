// SPDX-License-Identifier: GPL-2.0

//! The simulated kernel: plain data behind cells, so that the core can call in from anywhere.

use crate::code::Code;
use crate::faults::Faults;
use crate::interruption::Interruptions;
use crate::structures::Structures;
use crate::tasks::Machine;
use crate::tracer::Ftrace;
use kernel::prelude::*;

/// All that the core sees of the kernel around it.
#[derive(Default)]
pub struct Simulation {
    /// Tasks and CPUs.
    pub machine: Machine,
    /// Functions and their addresses.
    pub code: Code,
    /// The tracer.
    pub ftrace: Ftrace,
    /// Patches as their modules describe them, modules, sysfs.
    pub structures: Structures,
    /// What is to fail.
    pub faults: Faults,
    /// What is to happen in the middle of the core's operations.
    pub interruptions: Interruptions,
}

/// Memory for something of the kernel's own, so that `kernel::alloc::fail_after` covers it too.
pub(crate) fn allocate() -> Result {
    KBox::new((), GFP_KERNEL)?;
    Ok(())
}
