// SPDX-License-Identifier: GPL-2.0

//! Hooks: the one `ftrace_ops` of the core, its handler, and the table by which that finds the site
//! of a function.
//!
//! The C core has an `ftrace_ops` for each function, and ftrace takes its time with each: it waits
//! for tasks-RCU before one goes, since its memory and its trampoline go with it. Ours is static and
//! stays, so that ftrace waits for nothing; functions come and go by its filter, many at a time. The
//! filter is set as a whole, to what is in [`Traced`]. So nothing has to be undone where memory is
//! short as functions go: a location that stays in the filter is not in the table, and the handler
//! lets the original go on; the next change makes the filter right.
//!
//! # Who waits for what
//!
//! A handler runs with preemption off, as does its use of the table and of a hook found there:
//! `Tasks::synchronize` waits for it, and is called before a hook that was attached is dropped.
//!
//! A task can still be preempted in ftrace's trampoline, behind the handler and before the function
//! that was chosen there. Nobody waits for it, and nobody has to: it has not left the function that
//! it called, so it does not move to the other universe (`StackCheck` says how that is seen), and
//! without it the transition does not end, nor does a module that is in use go.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h).

use crate::{
    tasks,
    Linux,
    Shared, //
};
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    }, //
};
use livepatch_arch::{
    Backend,
    Native,
    SavedRegisters, //
};
use livepatch_core::dispatch::{
    Refusal,
    Site,
    Target,
    Tracer, //
};

/// A patched function as the handler knows it.
struct Entry {
    location: usize,
    site: Site,
    /// The next one in the bucket.
    next: Atomic<*mut Entry>,
}

/// Owns an [`Entry`], whose address the table has while the hook is attached.
pub(crate) struct Hook(KBox<Entry>);

// SAFETY: Entries are made for sharing; `next` only points to those in the table.
unsafe impl Send for Hook {}

const BUCKET_BITS: u32 = 9;

/// The table: lists of entries by the hash of their location. Read with preemption off, changed under
/// [`TRACED`].
static BUCKETS: [Atomic<*mut Entry>; 1 << BUCKET_BITS] =
    [const { Atomic::new(core::ptr::null_mut()) }; 1 << BUCKET_BITS];

fn bucket(location: usize) -> Option<&'static Atomic<*mut Entry>> {
    // As `hash_64()` does it.
    let hash = (location as u64).wrapping_mul(0x61c8_8646_80b5_83eb);
    BUCKETS.get((hash >> (u64::BITS - BUCKET_BITS)) as usize)
}

/// The site of the function with that location, if it is patched.
///
/// # Safety
///
/// Preemption is off, or [`TRACED`] is held, for as long as the site is used.
unsafe fn find<'a>(location: usize) -> Option<&'a Site> {
    // Acquire: pairs with `link`. With the first entry all that are behind it can be seen, since they
    // were linked before, and what a removal stores is one of those.
    let mut next = bucket(location)?.load(Acquire);
    // SAFETY: Who unlinks an entry waits for every CPU to schedule before it frees it.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.location == location {
            return Some(&entry.site);
        }
        next = entry.next.load(Relaxed);
    }
    None
}

impl Hook {
    fn as_ptr(&self) -> *mut Entry {
        (&raw const *self.0).cast_mut()
    }

    /// Puts the entry into the table. The caller holds [`TRACED`].
    fn link(&self) {
        if let Some(first) = bucket(self.0.location) {
            self.0.next.store(first.load(Relaxed), Relaxed);
            // Release: the entry is complete before it can be found.
            first.store(self.as_ptr(), Release);
        }
    }

    /// Takes the entry out of the table, if it is there. Who is there goes on to the one behind it.
    /// The caller holds [`TRACED`].
    fn unlink(&self) {
        let mut link = bucket(self.0.location);
        while let Some(current) = link {
            let next = current.load(Relaxed);
            if next == self.as_ptr() {
                current.store(self.0.next.load(Relaxed), Relaxed);
                return;
            }
            // SAFETY: Entries that are linked are owned by hooks that are attached.
            link = unsafe { next.as_ref() }.map(|entry| &entry.next);
        }
    }
}

#[cfg(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS)]
const SAVE_REGISTERS: u32 = 0;
#[cfg(not(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS))]
const SAVE_REGISTERS: u32 = bindings::FTRACE_OPS_FL_SAVE_REGS;

const FLAGS: u32 =
    bindings::FTRACE_OPS_FL_IPMODIFY | bindings::FTRACE_OPS_FL_PERMANENT | SAVE_REGISTERS;

/// What ftrace knows of us. Touched by ftrace only, under its locks.
static OPS: Shared<bindings::ftrace_ops> = {
    // SAFETY: All zeroes is what C code makes of a `struct ftrace_ops` that it defines.
    let mut ops: bindings::ftrace_ops = unsafe { MaybeUninit::zeroed().assume_init() };
    ops.func = Some(bindings::livepatch_ftrace_handler);
    ops.flags = FLAGS as c_ulong;
    Shared::new(ops)
};

/// Sends a call of a patched function to where its site says.
///
/// C counterpart: `klp_ftrace_handler()`, whose other half, the guard against recursion, is around
/// this in `rust/helpers/livepatch.c`. Everything that this calls is Rust, which is not traced, or a
/// helper, which is not either.
///
/// # Safety
///
/// Called by ftrace's handler, in any context, with preemption off, which is what
/// `Tasks::synchronize` relies on to wait for handlers where RCU is not watching. `fregs` are the
/// registers that ftrace saved.
#[no_mangle]
unsafe extern "C" fn livepatch_dispatch(ip: c_ulong, fregs: *mut bindings::ftrace_regs) {
    // SAFETY: Preemption is off.
    let Some(site) = (unsafe { find(ip as usize) }) else {
        return;
    };
    if let Target::Replacement(address) = site.choose(tasks::current_state) {
        // SAFETY: ftrace saved the registers in the backend's layout, and they are ours to change.
        let registers = unsafe { &mut *fregs.cast::<<Native as Backend>::Registers>() };
        registers.set_instruction_pointer(address);
    }
}

/// What is being traced.
struct Traced {
    /// Whether [`OPS`] is registered.
    registered: bool,
    /// The locations that are attached. Not empty while it is registered, unless ftrace does not let
    /// go: an empty filter stands for all functions.
    locations: KVec<c_ulong>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialized in `init`, before anyone can use the core.
    unsafe(uninit) static TRACED: Mutex<Traced> = Traced {
        registered: false,
        locations: KVec::new(),
    };
}

/// What [`crate::Livepatch`] has to do for hooks.
pub(crate) fn init() {
    // SAFETY: Called once, before the core is initialized.
    unsafe { TRACED.init() };
}

impl Traced {
    /// Sets the filter to all locations, and nothing else.
    fn set_filter(&mut self) -> Result {
        // SAFETY: The operations are static; the locations are only read.
        to_result(unsafe {
            bindings::ftrace_set_filter_ips(
                OPS.get(),
                self.locations.as_mut_ptr(),
                self.locations.len() as c_uint,
                0,
                1,
            )
        })
    }

    /// Lets ftrace call the handler for all locations, some of them new.
    fn enter(&mut self) -> Result<(), Refusal> {
        self.set_filter().map_err(|error| {
            // Whether others want to change the instruction pointer there too is asked of those who
            // are registered: it is what registering fails with otherwise.
            if self.registered && error == EBUSY {
                Refusal::Register(error)
            } else {
                Refusal::Filter(error)
            }
        })?;
        if !self.registered {
            // SAFETY: The operations are static, and not registered.
            to_result(unsafe { bindings::register_ftrace_function(OPS.get()) })
                .map_err(Refusal::Register)?;
            self.registered = true;
        }
        Ok(())
    }

    /// Forgets the locations that are not in the table any more.
    fn forget(&mut self) {
        // SAFETY: The lock is held.
        self.locations
            .retain(|location| unsafe { find(*location as usize) }.is_some());
    }

    /// Tells ftrace of the locations that are left, some having gone.
    fn leave(&mut self) {
        if self.registered && self.locations.is_empty() {
            // SAFETY: The operations are registered.
            let result = to_result(unsafe { bindings::unregister_ftrace_function(OPS.get()) });
            if kernel::warn_on!(result.is_err()) {
                return;
            }
            self.registered = false;
        }
        // Where there is no memory for the new filter the old one stays.
        let _ = self.set_filter();
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
        Ok(Hook(KBox::new(
            Entry {
                location,
                site,
                next: Atomic::new(core::ptr::null_mut()),
            },
            GFP_KERNEL,
        )?))
    }

    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site {
        &hook.0.site
    }

    fn attach(&self, hooks: &[&Self::Hook]) -> Result<(), Refusal> {
        let mut traced = TRACED.lock();
        traced
            .locations
            .reserve(hooks.len(), GFP_KERNEL)
            .map_err(|error| Refusal::Filter(error.into()))?;
        for hook in hooks {
            // First the table: where the handler is called, it finds the site.
            hook.link();
            let pushed = traced
                .locations
                .push_within_capacity(hook.0.location as c_ulong);
            livepatch_core::warn_on_once!(pushed.is_err());
        }
        let result = traced.enter();
        if result.is_err() {
            for hook in hooks {
                hook.unlink();
            }
            traced.forget();
        }
        result
    }

    fn detach(&self, hooks: &mut dyn Iterator<Item = &Self::Hook>) {
        let mut traced = TRACED.lock();
        for hook in hooks {
            hook.unlink();
        }
        traced.forget();
        traced.leave();
    }
}
