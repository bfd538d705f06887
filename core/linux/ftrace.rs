// SPDX-License-Identifier: GPL-2.0

//! Hooks: an `ftrace_ops` for each batch of them, the handler, and the table by which that finds the
//! site of a function.
//!
//! The C core has an `ftrace_ops` for each function, and ftrace takes its time with each: it waits for
//! tasks-RCU before one goes, since its memory and its trampoline go with it. Here all functions that
//! are attached together share one. A single one for all would not do: only when one is registered
//! does ftrace ask those who call the functions directly, such as BPF's trampolines, to respect the
//! changed instruction pointer; who adds to the filter of one that is registered bypasses them.
//!
//! Some functions of a batch may have to stay when others go, because another patch has versions of
//! them. Then the filter is set anew, as a whole. Where there is no memory for that, the locations that
//! should have gone are merely stale: they are not in the table, so the handler lets the original go
//! on, and the next change makes the filter right.
//!
//! # The settled gear
//!
//! When no site of a batch is in transition, its calls go straight to the replacements: ftrace puts a
//! branch in place of its call, wherever nothing else is attached. The operations stay registered, so
//! whoever else comes is accepted or refused as if nothing had happened, and ftrace gives the location
//! back to its trampoline, and so to our handler, for as long as that one stays.
//!
//! A call takes the branch or goes through the handler, and both lead to the same function as long as
//! the site does not change: ftrace replaces one instruction by the other as a whole. So the branches
//! may come one after the other while the handler is in use, and sites change only after
//! `ftrace_unsettle()` has returned, when no CPU executes a branch any more. A task that has taken one
//! is in the replacement, where the stack check finds it.
//!
//! # Who waits for what
//!
//! A handler runs with preemption off, as does its use of the table and of a hook found there:
//! `Tasks::synchronize` waits for it, and is called before a hook that was attached is dropped.
//!
//! A task can still be preempted in ftrace's trampoline, behind the handler and before the function
//! that was chosen there. ftrace waits for it where a whole batch goes, since it frees the trampoline,
//! and nobody has to: the task has not left the function that it called, so it does not move to the
//! other universe (`StackCheck` says how that is seen), and without it the transition does not end,
//! nor does a module that is in use go.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h).

use crate::livepatch_arch::{
    Backend,
    Native,
    SavedRegisters, //
};
use crate::livepatch_core::{
    dispatch::{
        Gear,
        Refusal,
        Tracer, //
    },
    site::{
        Site,
        Target,
        View, //
    }, //
};
use crate::{
    tasks,
    Linux, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    types::Opaque, //
};

/// A patched function as the handler knows it.
struct Entry {
    location: usize,
    site: Site,
    /// Whether its calls may go without the handler. Used under the core's lock.
    settles: Atomic<bool>,
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

#[inline(always)]
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
#[inline(always)]
unsafe fn find<'a>(location: usize) -> Option<&'a Site> {
    // SAFETY: As the caller promises.
    unsafe { find_entry(location) }.map(|entry| &entry.site)
}

/// The entry of [`find`].
///
/// # Safety
///
/// As for that.
#[inline(always)]
unsafe fn find_entry<'a>(location: usize) -> Option<&'a Entry> {
    // Acquire: pairs with `link`. With the first entry all that are behind it can be seen, since they
    // were linked before, and what a removal stores is one of those.
    let mut next = bucket(location)?.load(Acquire);
    // SAFETY: Who unlinks an entry waits for every CPU to schedule before it frees it.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.location == location {
            return Some(entry);
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

const FLAGS: u32 = bindings::FTRACE_OPS_FL_DYNAMIC
    | bindings::FTRACE_OPS_FL_IPMODIFY
    | bindings::FTRACE_OPS_FL_PERMANENT
    | SAVE_REGISTERS;

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
    let Some(site) = (unsafe { find(ip) }) else {
        return;
    };
    if let Target::Replacement(address) = site.choose(tasks::current_state) {
        // SAFETY: ftrace saved the registers in the backend's layout, and they are ours to change.
        let registers = unsafe { &mut *fregs.cast::<<Native as Backend>::Registers>() };
        registers.set_instruction_pointer(address);
    }
}

/// Functions that were attached together.
struct Batch {
    /// What ftrace knows of them. Only ftrace touches it, under its locks; it stays where it is.
    ops: KBox<Opaque<bindings::ftrace_ops>>,
    /// The locations that are attached. Not empty while the batch is registered, unless ftrace does
    /// not let go: an empty filter stands for all functions.
    locations: KVec<c_ulong>,
    /// Whether ftrace's filter has locations besides.
    stale: bool,
    /// Where ftrace sends calls of each location without the handler, 0 where it does not; empty
    /// while it does not for any.
    settled: KVec<c_ulong>,
}

// SAFETY: See `ops`.
unsafe impl Send for Batch {}

impl Batch {
    fn new(hooks: &[&Hook]) -> Result<Self> {
        // SAFETY: All zeroes is what C code makes of a `struct ftrace_ops` that it allocates.
        let mut ops: bindings::ftrace_ops = unsafe { core::mem::zeroed() };
        ops.func = Some(bindings::livepatch_ftrace_handler);
        ops.flags = FLAGS as c_ulong;
        let mut locations = KVec::with_capacity(hooks.len(), GFP_KERNEL)?;
        for hook in hooks {
            locations.push(hook.0.location as c_ulong, GFP_KERNEL)?;
        }
        Ok(Self {
            ops: KBox::new(Opaque::new(ops), GFP_KERNEL)?,
            settled: KVec::with_capacity(locations.len(), GFP_KERNEL)?,
            locations,
            stale: false,
        })
    }

    /// Sets the filter to all locations, and nothing else.
    fn set_filter(&mut self) -> Result {
        // SAFETY: ftrace may know the operations or not; the locations are only read.
        to_result(unsafe {
            bindings::ftrace_set_filter_ips(
                self.ops.get(),
                self.locations.as_mut_ptr(),
                self.locations.len() as c_uint,
                0,
                1,
            )
        })
    }

    /// Forgets the filter of operations that are not registered.
    fn free_filter(&mut self) {
        // SAFETY: ftrace has nothing else that belongs to the operations.
        unsafe { bindings::ftrace_free_filter(self.ops.get()) };
    }

    /// Lets ftrace call the handler for all locations.
    fn enter(&mut self) -> Result<(), Refusal> {
        let result = self.set_filter().map_err(Refusal::Filter).and_then(|()| {
            // SAFETY: The operations are dropped only when ftrace has let go of them.
            to_result(unsafe { bindings::register_ftrace_function(self.ops.get()) })
                .map_err(Refusal::Register)
        });
        if result.is_err() {
            self.free_filter();
        }
        result
    }

    /// Where calls of the location may go without the handler, or 0. The caller holds [`TRACED`].
    fn settled_call(location: c_ulong) -> c_ulong {
        // SAFETY: The lock is held.
        let entry = unsafe { find_entry(location) };
        let entry = entry.filter(|entry| entry.settles.load(Relaxed));
        let address = match entry.map(|entry| entry.site.view()) {
            Some(View::Settled(Target::Replacement(address))) => Native::settled_call(address),
            _ => None,
        };
        address.unwrap_or(0) as c_ulong
    }

    /// Whether what ftrace does without the handler is all that it may do. The caller holds
    /// [`TRACED`].
    fn is_settled(&self) -> bool {
        let mut settled = self.settled.iter();
        self.locations
            .iter()
            .all(|&location| settled.next().copied().unwrap_or(0) == Self::settled_call(location))
    }

    /// Lets ftrace do without the handler what it may. The caller holds [`TRACED`].
    fn settle(&mut self) {
        if self.is_settled() || self.unsettle().is_err() {
            return;
        }
        for &location in &self.locations {
            let address = Self::settled_call(location);
            // There is room for as many as there are locations.
            if self.settled.push_within_capacity(address).is_err() {
                self.settled.clear();
                return;
            }
        }
        if settle(&self.ops, &self.locations, &self.settled).is_err() {
            self.settled.clear();
        }
    }

    /// Has all calls go through the handler again. Errors: `ENODEV` where ftrace has broken down.
    fn unsettle(&mut self) -> Result {
        if !self.settled.is_empty() {
            unsettle(&self.ops)?;
            self.settled.clear();
        }
        Ok(())
    }

    /// Forgets the locations that are not in the table any more, and tells ftrace. Says whether ftrace
    /// still knows the batch. The caller holds [`TRACED`].
    fn leave(&mut self) -> bool {
        let before = self.locations.len();
        // SAFETY: The lock is held.
        self.locations
            .retain(|location| unsafe { find(*location) }.is_some());
        self.stale |= self.locations.len() != before;
        if !self.stale {
            return true;
        }
        // ftrace wants to have its call back before the filter changes.
        if self.unsettle().is_err() {
            return true;
        }
        if !self.locations.is_empty() {
            // Where there is no memory for the new filter the old one stays.
            self.stale = self.set_filter().is_err();
            return true;
        }
        // SAFETY: The operations are registered.
        let result = to_result(unsafe { bindings::unregister_ftrace_function(self.ops.get()) });
        if result.is_err() {
            // A dead ftrace goes on to call the handler, which finds nothing.
            kernel::warn_on!(!is_dead());
            return true;
        }
        self.free_filter();
        false
    }
}

kernel::sync::global_lock! {
    // SAFETY: Initialized in `init`, before anyone can lock it.
    unsafe(uninit) static TRACED: Mutex<KVec<Batch>> = KVec::new();
}

/// What [`crate::livepatch_early_init`] has to do for hooks.
///
/// # Safety
///
/// Called once, before anyone locks the batches.
pub(crate) unsafe fn init() {
    // SAFETY: The caller promises that nobody has used the lock.
    unsafe { TRACED.init() };
}

impl Tracer for Linux {
    type Hook = Hook;

    fn location(&self, function: usize) -> Option<usize> {
        // Not `ftrace_location()`, which takes any place between this symbol and the next. There may
        // be a default that another file overrides in between: it has no symbol, but is traced.
        let mut places = Native::SITE_OFFSETS
            .iter()
            .map(|&offset| function.saturating_add(offset));
        // SAFETY: Takes any addresses.
        places.find(|&place| unsafe { bindings::ftrace_location_range(place, place) } != 0)
    }

    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook> {
        Ok(Hook(KBox::new(
            Entry {
                location,
                site,
                settles: Atomic::new(false),
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
        // A stale location may be one of those that come.
        traced.retain(|batch| !batch.stale || batch.leave());
        let refusal = |error| Refusal::Filter(error);
        let mut batch = Batch::new(hooks).map_err(refusal)?;
        traced
            .reserve(1, GFP_KERNEL)
            .map_err(|error| refusal(error.into()))?;
        for hook in hooks {
            // First the table: where the handler is called, it finds the site.
            hook.link();
        }
        let result = batch.enter();
        if result.is_err() {
            for hook in hooks {
                hook.unlink();
            }
            return result;
        }
        if let Err(refused) = traced.push_within_capacity(batch) {
            // Room was made above. ftrace knows the batch, so it must stay.
            warn_on_once!(true);
            core::mem::forget(refused);
        }
        Ok(())
    }

    fn detach(&self, hooks: &mut dyn Iterator<Item = &Self::Hook>) {
        let mut traced = TRACED.lock();
        for hook in hooks {
            hook.unlink();
        }
        traced.retain(Batch::leave);
    }

    fn set_settles(&self, hook: &Self::Hook, settles: bool) {
        hook.0.settles.store(settles, Relaxed);
    }

    fn settle(&self) {
        TRACED.lock().iter_mut().for_each(Batch::settle);
    }

    fn unsettle(&self) -> Result {
        let mut traced = TRACED.lock();
        let mut leaving = traced.iter_mut().filter(|batch| !batch.is_settled());
        leaving.try_for_each(Batch::unsettle)
    }

    fn is_dead(&self) -> bool {
        is_dead()
    }
}

/// Whether ftrace has shut itself down.
fn is_dead() -> bool {
    // SAFETY: Only reads a flag, which is never cleared.
    unsafe { bindings::ftrace_is_dead() != 0 }
}

/// Whether calls can do without the handler at all.
pub(crate) fn can_settle() -> bool {
    cfg!(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED) && Native::settled_call(0).is_some()
}

/// The gear of patches for which nobody has chosen one.
pub(crate) fn default_gear() -> Gear {
    if can_settle() && crate::module_parameters::settle.value() {
        Gear::Settled
    } else {
        Gear::Handler
    }
}

/// Has ftrace put branches to `addresses` in place of its calls at `locations`, where nothing but
/// `ops` is attached and the address is not 0.
#[cfg(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED)]
fn settle(
    ops: &Opaque<bindings::ftrace_ops>,
    locations: &[c_ulong],
    addresses: &[c_ulong],
) -> Result {
    let count = locations.len().min(addresses.len());
    // SAFETY: The operations are registered; both arrays are only read, up to `count`.
    to_result(unsafe {
        bindings::ftrace_settle(
            ops.get(),
            locations.as_ptr(),
            addresses.as_ptr(),
            count as c_uint,
        )
    })
}

#[cfg(not(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED))]
fn settle(_: &Opaque<bindings::ftrace_ops>, _: &[c_ulong], _: &[c_ulong]) -> Result {
    Err(EOPNOTSUPP)
}

/// Has ftrace call the handler again at all of the locations.
#[cfg(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED)]
fn unsettle(ops: &Opaque<bindings::ftrace_ops>) -> Result {
    // SAFETY: The operations are registered.
    to_result(unsafe { bindings::ftrace_unsettle(ops.get()) })
}

#[cfg(not(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED))]
fn unsettle(_: &Opaque<bindings::ftrace_ops>) -> Result {
    Ok(())
}
