// SPDX-License-Identifier: GPL-2.0

//! Hooks: one `ftrace_ops` for each patched function, and the handler behind them.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h).

use crate::{
    tasks,
    Linux, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use livepatch_arch::{
    Backend,
    Native,
    SavedRegisters, //
};
use livepatch_core::dispatch::{
    Site,
    Target,
    Tracer, //
};

/// A patched function as ftrace knows it.
pub(crate) struct Ops {
    fops: Opaque<bindings::ftrace_ops>,
    site: Site,
    location: usize,
}

// SAFETY: `fops` is only touched by ftrace, under its own lock, and by us under the core's lock; a
// `Site` is made for sharing.
unsafe impl Send for Ops {}
// SAFETY: As above.
unsafe impl Sync for Ops {}

/// Owns an [`Ops`], whose address ftrace remembers while the hook is registered.
pub(crate) struct Hook(Pin<KBox<Ops>>);

/// Called by ftrace at the beginning of every call of a patched function, in any context.
///
/// C counterpart: `klp_ftrace_handler()`. Everything that it calls is Rust, which is not traced, or a
/// helper, which is not either.
///
/// # Safety
///
/// `fops` is the one of an [`Ops`] that lives until no handler can run any more, and `fregs` are the
/// registers that ftrace saved.
unsafe extern "C" fn handler(
    ip: c_ulong,
    parent_ip: c_ulong,
    fops: *mut bindings::ftrace_ops,
    fregs: *mut bindings::ftrace_regs,
) {
    // Also turns preemption off, which is what `Tasks::synchronize` relies on to wait for handlers
    // where RCU is not watching.
    //
    // SAFETY: May be called in any context, and is undone below.
    let bit = unsafe { bindings::ftrace_test_recursion_trylock(ip, parent_ip) };
    if livepatch_core::warn_on_once!(bit < 0) {
        return;
    }

    let ops = Opaque::cast_from(fops);
    // SAFETY: `fops` is embedded in an `Ops`, as the caller promises, which is only shared.
    let ops: &Ops = unsafe { &*container_of!(ops, Ops, fops) };
    if let Target::Replacement(address) = ops.site.choose(tasks::current_state) {
        // SAFETY: ftrace saved the registers in the backend's layout, and they are ours to change.
        let registers = unsafe { &mut *fregs.cast::<<Native as Backend>::Registers>() };
        registers.set_instruction_pointer(address);
    }

    // SAFETY: `bit` came from the trylock above.
    unsafe { bindings::ftrace_test_recursion_unlock(bit) };
}

#[cfg(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS)]
const SAVE_REGISTERS: u32 = 0;
#[cfg(not(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS))]
const SAVE_REGISTERS: u32 = bindings::FTRACE_OPS_FL_SAVE_REGS;

const FLAGS: u32 = bindings::FTRACE_OPS_FL_DYNAMIC
    | bindings::FTRACE_OPS_FL_IPMODIFY
    | bindings::FTRACE_OPS_FL_PERMANENT
    | SAVE_REGISTERS;

impl Hook {
    fn filter(&self, remove: c_int) -> Result {
        // SAFETY: `fops` is valid, and stays where it is while ftrace knows it.
        to_result(unsafe {
            bindings::ftrace_set_filter_ip(self.0.fops.get(), self.0.location as c_ulong, remove, 0)
        })
    }
}

impl Tracer for Linux {
    type Hook = Hook;

    fn location(&self, function: usize) -> Option<usize> {
        // SAFETY: Takes any address.
        let location = unsafe { bindings::ftrace_location(function as c_ulong) };
        (location != 0).then_some(location as usize)
    }

    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook> {
        // SAFETY: All zeroes is what C code makes of a `struct ftrace_ops` it allocates.
        let mut fops: bindings::ftrace_ops = unsafe { core::mem::zeroed() };
        fops.func = Some(handler);
        fops.flags = FLAGS as c_ulong;
        Ok(Hook(KBox::pin(
            Ops {
                fops: Opaque::new(fops),
                site,
                location,
            },
            GFP_KERNEL,
        )?))
    }

    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site {
        &hook.0.as_ref().get_ref().site
    }

    fn set_filter(&self, hook: &Self::Hook) -> Result {
        hook.filter(0)
    }

    fn clear_filter(&self, hook: &Self::Hook) -> Result {
        hook.filter(1)
    }

    fn register(&self, hook: &Self::Hook) -> Result {
        // SAFETY: The hook is pinned, and dropped only after `unregister`.
        to_result(unsafe { bindings::register_ftrace_function(hook.0.fops.get()) })
    }

    fn unregister(&self, hook: &Self::Hook) -> Result {
        // SAFETY: The hook is registered.
        to_result(unsafe { bindings::unregister_ftrace_function(hook.0.fops.get()) })
    }
}
