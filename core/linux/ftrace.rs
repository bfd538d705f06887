// SPDX-License-Identifier: GPL-2.0

//! Hooks: one `ftrace_ops` for each batch of hooks, the entries in which the handler finds the site
//! of a function.
//!
//! The handler itself is in `livepatch.c`, with the table of the entries. In Rust, each of its
//! loads and barriers would be the call of a helper.
//!
//! The C core has an `ftrace_ops` for each function. Here all functions that are attached together
//! share one. A single one for all functions would not do. ftrace asks direct callers of the
//! functions, such as BPF's trampolines, to respect the changed instruction pointer only when an
//! `ftrace_ops` is registered. Adding a function to the filter of a registered one bypasses them.
//!
//! Some functions of a batch may have to stay when others go, because another patch has versions of
//! them. Then the whole filter is set anew. If there is no memory for that, the locations that
//! should have gone are merely stale: they are not in the table, so the handler lets the original
//! go on. The next change corrects the filter.
//!
//! # Who waits for what
//!
//! A handler runs with preemption off for as long as it uses the table and an entry that it found
//! there. `Scheduler::synchronize` waits for handlers. The core calls it before it frees a hook
//! that was attached, and before a site shows another transition.
//!
//! A task can still be preempted in ftrace's trampoline, between the handler and the function that
//! the handler chose. The core does not wait for it: the task has not left the function that it
//! called, so it does not move to the other version (`StackCheck` says how the core detects this).
//! Until that task has moved, the transition does not end, and a module that is in use does not go.
//! Once the batch has gone, ftrace does not know the trampoline that the task is in. Its stack is
//! unreliable then, so the task does not move in a later transition either until it has left.
//!
//! ftrace itself waits for such tasks where it frees the trampoline (`ftrace_ops.rs`).
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h).

pub(crate) mod settle;

use crate::livepatch_arch::{
    Backend,
    Native, //
};
use crate::livepatch_core::{
    dispatch::{
        Refusal,
        Tracer, //
    },
    site::Site, //
};
use crate::{
    ftrace_ops::{
        self,
        Ops, //
    },
    tasks::{
        Quiesced,
        Since, //
    },
    Linux, //
};
use core::mem::{
    offset_of,
    ManuallyDrop, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// A patched function as the handler knows it: a `struct livepatch_entry`, and behind it what only
/// the bridge uses.
#[repr(C)]
struct Entry {
    /// The entry's place in the table. Only `livepatch.c` uses it.
    node: Opaque<bindings::hlist_node>,
    location: usize,
    site: Site,
    /// Whether its calls may bypass the handler. Used under the core's lock.
    settles: Atomic<bool>,
    /// [`FRESH`], [`LINKED`], or since when the entry is no longer in the table. Written under
    /// [`TRACED`].
    since: Atomic<usize>,
}

// The handler finds the site in an entry, and the words in the site, where `livepatch.h` has them.
const _: () = {
    assert!(offset_of!(Entry, node) == offset_of!(bindings::livepatch_entry, node));
    assert!(offset_of!(Entry, location) == offset_of!(bindings::livepatch_entry, location));
    assert!(offset_of!(Entry, site) == offset_of!(bindings::livepatch_entry, site));
    assert!(size_of::<Site>() == size_of::<bindings::livepatch_site>());
    let [word, newest, below] = Site::OFFSETS;
    assert!(word == offset_of!(bindings::livepatch_site, word));
    assert!(newest == offset_of!(bindings::livepatch_site, newest));
    assert!(below == offset_of!(bindings::livepatch_site, below));
    assert!(Site::IN_TRANSITION == bindings::LIVEPATCH_IN_TRANSITION as usize);
    assert!(Site::ORIGINAL == bindings::LIVEPATCH_ORIGINAL as usize);
};

/// The entry has never been in the table.
const FRESH: usize = 0;
/// The entry is in the table.
const LINKED: usize = usize::MAX;

/// Owns an [`Entry`], which the table points to while the hook is attached.
///
/// Handlers may use the entry of a hook that was attached, so [`Tracer::free`] alone frees it.
pub(crate) struct Hook(ManuallyDrop<KBox<Entry>>);

impl Drop for Hook {
    fn drop(&mut self) {
        if self.0.since.load(Relaxed) == FRESH {
            // SAFETY: The entry has never been in the table, so nothing else refers to it. The hook
            // is not used any more.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

// SAFETY: All that changes in an `Entry` is atomic, except the node. Only `livepatch.c` uses the
// node, and the task that makes it do so holds `TRACED`.
unsafe impl Send for Hook {}

/// The entry of the function with that location, if it is patched.
///
/// # Safety
///
/// [`TRACED`] is held for as long as the entry is used.
unsafe fn find<'a>(location: usize) -> Option<&'a Entry> {
    // SAFETY: `TRACED` is held, so the table does not change during the search.
    let entry = unsafe { bindings::livepatch_find(location) };
    // SAFETY: What is in the table is the start of an `Entry`, since only `Hook::link` adds to it.
    // A linked entry is not freed, and `TRACED` keeps it linked.
    unsafe { entry.cast::<Entry>().as_ref() }
}

impl Hook {
    /// The entry, as `livepatch.c` knows it.
    fn as_raw(&self) -> *mut bindings::livepatch_entry {
        (&raw const **self.0).cast_mut().cast()
    }

    /// Puts the entry into the table. The caller holds [`TRACED`].
    fn link(&self) {
        if warn_on_once!(self.0.since.load(Relaxed) == LINKED) {
            return;
        }
        self.0.since.store(LINKED, Relaxed);
        // SAFETY: `TRACED` is held, and the entry is not in the table. While it is there it is not
        // freed: `free` and `drop` lose the memory of a linked entry.
        unsafe { bindings::livepatch_link(self.as_raw()) };
    }

    /// Takes the entry out of the table, if it is there. Concurrent readers still reach the next
    /// entry. The caller holds [`TRACED`].
    fn unlink(&self) {
        if self.0.since.load(Relaxed) != LINKED {
            return;
        }
        // SAFETY: `TRACED` is held, and the entry is in the table. It stays valid for readers that
        // are at it: `free` asks for a wait that began after this.
        unsafe { bindings::livepatch_unlink(self.as_raw()) };
        self.0.since.store(Since::now().to_raw(), Relaxed);
    }
}

#[cfg(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS)]
const SAVE_REGISTERS: u32 = 0;
#[cfg(not(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS))]
const SAVE_REGISTERS: u32 = bindings::FTRACE_OPS_FL_SAVE_REGS;

const FLAGS: u32 =
    bindings::FTRACE_OPS_FL_IPMODIFY | bindings::FTRACE_OPS_FL_PERMANENT | SAVE_REGISTERS;

/// Functions that were attached together.
struct Batch {
    /// What ftrace knows of the batch.
    ops: Ops,
    /// The locations that are attached. Not empty while the batch is registered, since an empty
    /// filter stands for all functions. The exception is a batch that ftrace failed to unregister.
    locations: KVec<c_ulong>,
    /// Whether ftrace's filter has other locations too.
    stale: bool,
    /// Where ftrace sends the calls at each location without the handler, or 0 if they go through
    /// the handler. Empty while all calls go through the handler.
    settled: KVec<c_ulong>,
}

impl Batch {
    fn new(hooks: &[&Hook]) -> Result<Self> {
        let mut locations = KVec::with_capacity(hooks.len(), GFP_KERNEL)?;
        for hook in hooks {
            locations.push(hook.0.location as c_ulong, GFP_KERNEL)?;
        }
        Ok(Self {
            ops: Ops::new(FLAGS)?,
            settled: KVec::with_capacity(locations.len(), GFP_KERNEL)?,
            locations,
            stale: false,
        })
    }

    /// Has ftrace call the handler at all locations.
    fn enter(&mut self) -> Result<(), Refusal> {
        self.ops
            .set_filter(&mut self.locations)
            .map_err(Refusal::Filter)?;
        self.ops.register().map_err(Refusal::Register)
    }

    /// Removes the locations that are no longer in the table, and tells ftrace. Returns whether
    /// ftrace still knows the batch. The caller holds [`TRACED`].
    fn leave(&mut self) -> bool {
        let before = self.locations.len();
        // SAFETY: `TRACED` is held, and the entry is not used.
        self.locations
            .retain(|location| unsafe { find(*location) }.is_some());
        self.stale |= self.locations.len() != before;
        if !self.stale {
            return true;
        }
        // ftrace needs its calls back before the filter changes.
        if self.unsettle().is_err() {
            return true;
        }
        if !self.locations.is_empty() {
            // Without memory for a new filter, the old one stays.
            self.stale = self.ops.set_filter(&mut self.locations).is_err();
            return true;
        }
        let left = self.ops.unregister();
        // A dead ftrace still calls the handler, which finds no site.
        kernel::warn_on!(left.is_err() && !ftrace_ops::is_dead());
        left.is_err()
    }
}

kernel::sync::global_lock! {
    // SAFETY: `init` initializes the lock before its first use.
    unsafe(uninit) static TRACED: Mutex<KVec<Batch>> = KVec::new();
}

/// Initializes the lock of the batches, for [`crate::livepatch_early_init`].
///
/// # Safety
///
/// This is the only call, and nothing has used the batches yet.
pub(crate) unsafe fn init() {
    // SAFETY: This is the only call, and nothing has used the lock yet.
    unsafe { TRACED.init() };
}

impl Tracer for Linux {
    type Hook = Hook;

    const CALL_SIZE: usize = bindings::MCOUNT_INSN_SIZE as usize;

    fn location(&self, function: usize) -> Option<usize> {
        // `ftrace_location()` will not do: it accepts any place between this symbol and the next. A
        // weak function that another file overrides may be in between. It has no symbol, but is
        // traced.
        let mut places = Native::SITE_OFFSETS
            .iter()
            .map(|&offset| function.saturating_add(offset));
        places.find(|&place| ftrace_ops::is_location(place))
    }

    fn new_hook(&self, location: usize, site: Site) -> Result<Self::Hook> {
        let entry = Entry {
            node: Opaque::zeroed(),
            location,
            site,
            settles: Atomic::new(false),
            since: Atomic::new(FRESH),
        };
        Ok(Hook(ManuallyDrop::new(KBox::new(entry, GFP_KERNEL)?)))
    }

    fn site<'a>(&self, hook: &'a Self::Hook) -> &'a Site {
        &hook.0.site
    }

    fn attach(&self, hooks: &[&Self::Hook]) -> Result<(), Refusal> {
        let mut traced = TRACED.lock();
        // A stale location may be among the new ones.
        traced.retain(|batch| !batch.stale || batch.leave());
        let refusal = |error| Refusal::Filter(error);
        let mut batch = Batch::new(hooks).map_err(refusal)?;
        traced
            .reserve(1, GFP_KERNEL)
            .map_err(|error| refusal(error.into()))?;
        for hook in hooks {
            // The table comes first: wherever ftrace calls the handler, it finds the site.
            hook.link();
        }
        let result = batch.enter();
        if result.is_err() {
            for hook in hooks {
                hook.unlink();
            }
            return result;
        }
        // Room was reserved above. A batch that is dropped here leaves ftrace.
        warn_on_once!(traced.push_within_capacity(batch).is_err());
        Ok(())
    }

    fn detach(&self, hooks: &mut dyn Iterator<Item = &Self::Hook>) {
        let mut traced = TRACED.lock();
        for hook in hooks {
            hook.unlink();
        }
        traced.retain(Batch::leave);
    }

    fn free(&self, hook: Self::Hook, quiesced: &Quiesced) {
        let since = hook.0.since.load(Relaxed);
        if Since::from_raw(since).is_over(quiesced) {
            // Nothing uses the entry any more, so it is dropped with the hook, as a fresh one is.
            hook.0.since.store(FRESH, Relaxed);
        }
    }

    fn is_dead(&self) -> bool {
        ftrace_ops::is_dead()
    }
}
