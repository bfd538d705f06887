// SPDX-License-Identifier: GPL-2.0

//! The tracepoints `livepatch:*`. `trace.h` defines them.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h).

use crate::{
    livepatch_core::{
        settle::Gear,
        symbol::Name,
        transition::{
            Counts,
            Direction,
            Trace,
            Way, //
        }, //
    },
    Linux, //
};
use core::ffi::CStr;
use kernel::{
    bindings,
    prelude::*,
    task::Task as KernelTask,
    time::{
        Instant,
        Monotonic, //
    },
    tracepoint::declare_trace, //
};

declare_trace! {
    /// # Safety
    ///
    /// `patch` is a C string.
    unsafe fn klp_patch_enabled(patch: *const c_char);
    /// # Safety
    ///
    /// `patch` is a C string.
    unsafe fn klp_patch_disabled(patch: *const c_char);
    /// # Safety
    ///
    /// `patch` and `by` are C strings.
    unsafe fn klp_patch_replaced(patch: *const c_char, by: *const c_char);
    /// # Safety
    ///
    /// `patch` and `direction` are C strings.
    unsafe fn klp_transition_started(patch: *const c_char, direction: *const c_char);
    /// # Safety
    ///
    /// `patch` and `direction` are C strings.
    unsafe fn klp_transition_reversed(patch: *const c_char, direction: *const c_char);
    /// # Safety
    ///
    /// `patch` and `direction` are C strings.
    unsafe fn klp_transition_forced(patch: *const c_char, direction: *const c_char);
    /// # Safety
    ///
    /// `patch` and `direction` are C strings. `counts` can be read.
    unsafe fn klp_transition_completed(
        patch: *const c_char,
        direction: *const c_char,
        counts: *const bindings::livepatch_counts,
    );
    /// # Safety
    ///
    /// `patch` is a C string.
    unsafe fn klp_attempt(patch: *const c_char, number: u64, left: u64, duration_us: u64);
    /// # Safety
    ///
    /// `task` exists. `way` is a C string.
    unsafe fn klp_task_moved(task: *mut bindings::task_struct, way: *const c_char);
    /// # Safety
    ///
    /// `patch` and `gear` are C strings.
    unsafe fn klp_gear_changed(patch: *const c_char, gear: *const c_char);
}

/// The name as a C string, which lives as long as the patch.
fn text(name: &Name) -> *const c_char {
    name.as_bytes_with_nul().as_ptr().cast()
}

/// The word for a direction, as in the log.
fn direction_text(direction: Direction) -> *const c_char {
    let text: &'static CStr = match direction {
        Direction::Patching => c"patching",
        Direction::Unpatching => c"unpatching",
    };
    text.as_char_ptr()
}

/// The word for a way, the same as [`Way::text`].
fn way_text(way: Way) -> *const c_char {
    let text: &'static CStr = match way {
        Way::Attempt => c"attempt",
        Way::Exit => c"exit",
        Way::Idle => c"idle",
        Way::Scheduler => c"scheduler",
        Way::Stopper => c"stopper",
        Way::Force => c"force",
    };
    text.as_char_ptr()
}

/// The word for a gear, as in the attribute `gear`.
fn gear_text(gear: Gear) -> *const c_char {
    let text: &'static CStr = match gear {
        Gear::Handler => c"handler",
        Gear::Settled => c"settled",
    };
    text.as_char_ptr()
}

impl Trace for Linux {
    const COUNTS: bool = true;

    fn micros(&self, since: &Instant<Monotonic>) -> u64 {
        // A monotonic clock does not go back.
        since.elapsed().as_micros_ceil().try_into().unwrap_or(0)
    }

    fn patch_enabled(&self, patch: &Name) {
        // SAFETY: The patch's name is a C string.
        unsafe { klp_patch_enabled(text(patch)) }
    }

    fn patch_disabled(&self, patch: &Name) {
        // SAFETY: The patch's name is a C string.
        unsafe { klp_patch_disabled(text(patch)) }
    }

    fn patch_replaced(&self, patch: &Name, by: &Name) {
        // SAFETY: The names of both patches are C strings.
        unsafe { klp_patch_replaced(text(patch), text(by)) }
    }

    fn transition_started(&self, patch: &Name, direction: Direction) {
        // SAFETY: The patch's name and the word for the direction are C strings.
        unsafe { klp_transition_started(text(patch), direction_text(direction)) }
    }

    fn transition_reversed(&self, patch: &Name, direction: Direction) {
        // SAFETY: The patch's name and the word for the direction are C strings.
        unsafe { klp_transition_reversed(text(patch), direction_text(direction)) }
    }

    fn transition_forced(&self, patch: &Name, direction: Direction) {
        // SAFETY: The patch's name and the word for the direction are C strings.
        unsafe { klp_transition_forced(text(patch), direction_text(direction)) }
    }

    fn transition_completed(&self, patch: &Name, counts: &Counts) {
        let moves = |way| counts.moves(way) as u64;
        let raw = bindings::livepatch_counts {
            duration_us: counts.micros(),
            attempts: counts.attempts(),
            reversals: counts.reversals(),
            forks: counts.forks() as u64,
            by_attempt: moves(Way::Attempt),
            by_exit: moves(Way::Exit),
            by_idle: moves(Way::Idle),
            by_scheduler: moves(Way::Scheduler),
            by_stopper: moves(Way::Stopper),
            by_force: moves(Way::Force),
        };
        let direction = direction_text(counts.direction());
        // SAFETY: The patch's name and the word for the direction are C strings. `raw` is a local
        // variable, which lives throughout the call.
        unsafe { klp_transition_completed(text(patch), direction, &raw const raw) }
    }

    fn attempted(&self, patch: &Name, number: u64, left: usize, micros: u64) {
        // SAFETY: The patch's name is a C string.
        unsafe { klp_attempt(text(patch), number, left as u64, micros) }
    }

    fn task_moved(&self, task: &KernelTask, way: Way) {
        // SAFETY: The task exists throughout the call, and the word for the way is a C string.
        unsafe { klp_task_moved(task.as_ptr(), way_text(way)) }
    }

    fn gear_changed(&self, patch: &Name, gear: Gear) {
        // SAFETY: The patch's name and the word for the gear are C strings.
        unsafe { klp_gear_changed(text(patch), gear_text(gear)) }
    }
}
