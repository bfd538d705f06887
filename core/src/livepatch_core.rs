// SPDX-License-Identifier: GPL-2.0

//! The livepatch core: which patches exist, which version of a function a call gets, and how every
//! task moves from one version to the other.
//!
//! The core is logic only. It uses the kernel around it through small traits, one per concern:
//!
//! | the core asks of | through |
//! |---|---|
//! | a patch's structures | [`patch::Structures`] |
//! | callbacks of objects; modules | [`patch::Callbacks`], [`patch::Modules`] |
//! | sysfs | [`sysfs::Directories`] |
//! | kallsyms | [`symbol::Symbols`] |
//! | ftrace | [`dispatch::Tracer`] |
//! | tasks | [`task::Tasks`] |
//! | the scheduler, the clock | [`transition::Scheduler`], [`transition::Clock`] |
//! | which task a task is | [`transition::Identify`] |
//! | the paths that move tasks | [`stack::Checks`], [`transition::Log`] |
//! | tracepoints | [`transition::Trace`] |
//!
//! The trait [`Kernel`] combines them. The bridge (`core/linux`) implements them for the running
//! kernel, and the simulator in `tests/` implements them for a model of a kernel. So the source
//! that is tested and model-checked on the host is the source that the kernel runs.
//!
//! The core contains no unsafe code, and no safe call of these traits can be misused into undefined
//! behaviour. What the core releases, it owns and hands over. What must have been waited for takes
//! evidence of the wait ([`transition::Scheduler::Quiesced`]). Tasks can't be kept beyond the call
//! that hands them out.
//!
//! | concern | here | C core |
//! |---|---|---|
//! | lifecycle of patches | [`registry`], [`patch`] | `core.c` |
//! | symbols, relocations | [`symbol`], [`relocation`] | `core.c` |
//! | attributes in sysfs | [`sysfs`] | `core.c` |
//! | which version a call gets | [`dispatch`], [`site`] | `patch.c` |
//! | calls that bypass the handler | [`settle`] | |
//! | moving the tasks | [`transition`], [`task`], [`stack`] | `transition.c` |
//! | shadow variables, system states | [`shadow`], [`state`] | `shadow.c`, `state.c` |
//!
//! Nothing here may panic: the core uses no indexing, no `unwrap`, and no arithmetic that can
//! overflow on a path that the kernel reaches. A broken invariant leads to a warning and an error.
//!
//! # Unit tests
//!
//! Unit tests are at the end of a file. They run on the host, and under KUnit in a module of their
//! own, `livepatch_kunit`. So they use the kernel crate as the core does. KUnit's own `assert!` and
//! `assert_eq!`, which take no message, are in effect from the first `#[test]` function on. Any
//! other panic is an oops.

// This is a crate on the host, and a module of the bridge's crate in the kernel.
#![cfg_attr(not(CONFIG_LIVEPATCH), no_std)]
#![forbid(unsafe_code)]
// The public items are the interface of the crate on the host.
#![cfg_attr(CONFIG_LIVEPATCH, allow(unreachable_pub))]

/// Prefix of every message of the livepatch core, the same as the C core's.
#[cfg(not(CONFIG_LIVEPATCH))]
const __LOG_PREFIX: &[u8] = b"livepatch\0";

/// `WARN_ON_ONCE()`: warns the first time that the condition holds, and evaluates to the condition.
macro_rules! warn_on_once {
    ($condition:expr) => {{
        let holds = $condition;
        if holds {
            kernel::do_once_lite! {
                kernel::warn_on!(true);
            }
        }
        holds
    }};
}

pub mod dispatch;
pub mod patch;
pub mod registry;
pub mod relocation;
pub mod settle;
pub mod shadow;
pub mod site;
pub mod sort;
pub mod stack;
pub mod state;
pub mod symbol;
pub mod sysfs;
pub mod task;
pub mod transition;

/// All that the core asks of the kernel it runs in.
pub trait Kernel:
    patch::Structures
    + patch::Callbacks
    + patch::Modules
    + sysfs::Directories
    + symbol::Symbols
    + dispatch::Tracer
    + settle::Settle
    + stack::Checks
    + transition::Busy
    + transition::Clock
    + transition::Early
    + transition::Identify
    + transition::Log
    + transition::Trace
{
}

impl<K> Kernel for K where
    K: patch::Structures
        + patch::Callbacks
        + patch::Modules
        + sysfs::Directories
        + symbol::Symbols
        + dispatch::Tracer
        + settle::Settle
        + stack::Checks
        + transition::Busy
        + transition::Clock
        + transition::Early
        + transition::Identify
        + transition::Log
        + transition::Trace
{
}
