// SPDX-License-Identifier: GPL-2.0

//! Call sites for dynamic debug.
//!
//! The kernel crate's `pr_debug!` does not support dynamic debug. Here each message is a real call
//! site: `file kernel/livepatch/* +p` finds it, and so does `func` with the name of the C core's
//! function. Only the jump label is missing, since Rust cannot emit one for this key. A call site
//! that is off costs a load and a branch.
//!
//! C header: [`include/linux/dynamic_debug.h`](srctree/include/linux/dynamic_debug.h).

use crate::livepatch_core::transition::{
    Debug,
    Stuck, //
};
use crate::{
    descriptors::FunctionRef,
    tasks::TaskRef,
    Linux, //
};
use core::ffi::CStr;
use kernel::{
    bindings,
    prelude::*, //
};

/// Packs the line, no class and no flags into one word, as `struct _ddebug` holds them.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
const fn packed(line: u32) -> [u8; 4] {
    /// `_DPRINTK_CLASS_DFLT`: no class.
    const CLASS: u32 = 63;
    /// Number of bits of the line. The class follows it.
    const LINE_BITS: u32 = 18;
    const CLASS_BITS: u32 = 6;

    let line = line & ((1 << LINE_BITS) - 1);
    // Bit-fields begin at the lowest bit on little-endian machines, and at the highest on others.
    let word = if cfg!(target_endian = "little") {
        line | CLASS << LINE_BITS
    } else {
        line << (32 - LINE_BITS) | CLASS << (32 - LINE_BITS - CLASS_BITS)
    };
    word.to_ne_bytes()
}

/// A call site in the section that dynamic debug reads.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
#[repr(transparent)]
struct Site(crate::Shared<bindings::_ddebug>);

#[cfg(CONFIG_DYNAMIC_DEBUG)]
impl Site {
    const fn new(function: &'static CStr, format: &'static CStr, line: u32) -> Self {
        // SAFETY: All zeroes is a call site that is off, with a key that no code depends on.
        let mut site: bindings::_ddebug = unsafe { core::mem::zeroed() };
        site.modname = c"livepatch".to_bytes_with_nul().as_ptr();
        site.filename = c"kernel/livepatch/linux/debug.rs"
            .to_bytes_with_nul()
            .as_ptr();
        site.function = function.to_bytes_with_nul().as_ptr();
        site.format = format.to_bytes_with_nul().as_ptr();
        site._bitfield_1 = bindings::__BindgenBitfieldUnit::new(packed(line));
        Self(crate::Shared::new(site))
    }

    /// Whether the site is switched on.
    fn is_on(&self) -> bool {
        // SAFETY: The site is valid. Dynamic debug may change the flags at any time. A stale value
        // only means one message too many or too few, as in C.
        unsafe { (*self.0.get()).flags() & bindings::_DPRINTK_FLAGS_PRINT != 0 }
    }

    fn print(&self, message: kernel::fmt::Arguments<'_>) {
        // SAFETY: The site is valid, and `%pA` takes a pointer to arguments that outlive the call.
        unsafe {
            bindings::__dynamic_pr_debug(
                self.0.get(),
                c"livepatch: %pA\n".as_char_ptr(),
                (&raw const message).cast::<c_void>(),
            );
        }
    }
}

/// Prints a message at a call site of its own. The arguments are the C function's name, the text
/// for the control file, and the message.
macro_rules! debug {
    ($function:literal, $format:literal, $($message:tt)+) => {{
        #[cfg(CONFIG_DYNAMIC_DEBUG)]
        {
            #[link_section = "__dyndbg"]
            static SITE: Site = Site::new($function, $format, line!());
            if SITE.is_on() {
                SITE.print(fmt!($($message)+));
            }
        }
    }};
}

/// Prints `message` if its call site is on.
pub(crate) fn print(message: Debug<'_, Linux>) {
    match message {
        Debug::Initializing(..) => debug!(
            c"klp_init_transition",
            c"'%s': initializing %s transition\n", "{}", message
        ),
        Debug::Completing(..) => debug!(
            c"klp_complete_transition",
            c"'%s': completing %s transition\n", "{}", message
        ),
        Debug::Canceling(..) => debug!(
            c"klp_cancel_transition",
            c"'%s': canceling patching transition, going to unpatch\n", "{}", message
        ),
        Debug::Reversing(..) => debug!(
            c"klp_reverse_transition",
            c"'%s': reversing transition from %s\n", "{}", message
        ),
        Debug::Stuck(task, reason) => print_stuck(task, reason),
    }
}

fn print_stuck(task: &TaskRef, reason: Stuck<FunctionRef>) {
    match reason {
        Stuck::Running => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is running\n",
            "klp_try_switch_task: {}:{} is running",
            task.name().text(),
            task.pid()
        ),
        Stuck::Unreliable => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d has an unreliable stack\n",
            "klp_try_switch_task: {}:{} has an unreliable stack",
            task.name().text(),
            task.pid()
        ),
        Stuck::Inside(function) => debug!(
            c"klp_try_switch_task",
            c"%s: %s:%d is sleeping on function %s\n",
            "klp_try_switch_task: {}:{} is sleeping on function {}",
            task.name().text(),
            task.pid(),
            function.name()
        ),
        // The C core has no such state, and so no message for it.
        Stuck::Unchecked => {}
    }
}
