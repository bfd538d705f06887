// SPDX-License-Identifier: GPL-2.0

//! Users of ftrace: a function that ftrace calls at the entry of other functions.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h).

use crate::tasks::Since;
use core::mem::ManuallyDrop;
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

/// Who uses each element of `livepatch_ops`: nobody yet ([`UNUSED`]), an [`Ops`] ([`TAKEN`]), or
/// nobody since the moment with this number ([`Since`]).
static LASTING: [Atomic<usize>; bindings::LIVEPATCH_OPS as usize] =
    [const { Atomic::new(UNUSED) }; bindings::LIVEPATCH_OPS as usize];

const UNUSED: usize = 0;
const TAKEN: usize = usize::MAX;

/// The memory of a `struct ftrace_ops`.
///
/// When ftrace unregisters one that may be freed, it waits for tasks-RCU, which takes from 50 to
/// some 200 ms. It does not wait for one that is never freed, which keeps its trampoline. There are
/// `LIVEPATCH_OPS` of those. If all are taken, memory is allocated.
enum Memory {
    /// The element of `livepatch_ops` with this number.
    Lasting(usize),
    /// Memory of its own.
    Own(ManuallyDrop<KBox<Opaque<bindings::ftrace_ops>>>),
}

impl Memory {
    /// Takes a lasting one whose last user has left, or allocates one. Errors: `ENOMEM`.
    fn take() -> Result<Self> {
        for (number, user) in LASTING.iter().enumerate() {
            let since = user.load(Relaxed);
            // A handler may still be called with one that was unregistered just now.
            let free = match since {
                TAKEN => false,
                UNUSED => true,
                since => Since::from_raw(since).has_passed(),
            };
            // Acquire: pairs with the release in `drop`. What its last user did comes first.
            if free && user.cmpxchg(since, TAKEN, Acquire).is_ok() {
                return Ok(Self::Lasting(number));
            }
        }
        let mut ops: bindings::ftrace_ops = pin_init::zeroed();
        ops.func = Some(bindings::livepatch_ftrace_handler);
        Ok(Self::Own(ManuallyDrop::new(KBox::new(
            Opaque::new(ops),
            GFP_KERNEL,
        )?)))
    }

    fn get(&self) -> *mut bindings::ftrace_ops {
        match self {
            Self::Own(own) => own.get(),
            Self::Lasting(number) => {
                let all: *mut [bindings::ftrace_ops; LASTING.len()] =
                    &raw mut bindings::livepatch_ops;
                all.cast::<bindings::ftrace_ops>().wrapping_add(*number)
            }
        }
    }
}

/// A user of ftrace (`struct ftrace_ops`) with the core's handler. If it is registered, dropping it
/// unregisters it.
///
/// # Invariants
///
/// The structure is initialized and does not move. ftrace knows it if and only if `registered`.
pub(crate) struct Ops {
    memory: Memory,
    registered: bool,
}

// SAFETY: Only ftrace accesses the structure, under ftrace's locks.
unsafe impl Send for Ops {}

impl Ops {
    /// Makes a user with these flags (`FTRACE_OPS_FL_*`). Errors: `ENOMEM`.
    pub(crate) fn new(flags: u32) -> Result<Self> {
        let memory = Memory::take()?;
        // SAFETY: The structure is allocated or static. It is not registered, and nothing else has
        // taken it.
        unsafe { (*memory.get()).flags |= flags as c_ulong };
        Ok(Self {
            // INVARIANT: All other fields are zero, or as ftrace left them when it forgot the
            // structure.
            memory,
            registered: false,
        })
    }

    /// Sets the filter to exactly these locations. Without any, the filter stands for all
    /// functions.
    /// Errors: `EINVAL` if one can't be traced, `ENOMEM`. Then the filter stays as it was.
    pub(crate) fn set_filter(&mut self, locations: &mut [c_ulong]) -> Result {
        // SAFETY: By the type's invariant, the structure is initialized. ftrace only reads the
        // locations, up to the length that is given.
        to_result(unsafe {
            bindings::ftrace_set_filter_ips(
                self.memory.get(),
                locations.as_mut_ptr(),
                locations.len() as c_uint,
                0,
                1,
            )
        })
    }

    /// Has ftrace call the handler at all locations of the filter. Errors: ftrace's.
    pub(crate) fn register(&mut self) -> Result {
        // SAFETY: By the type's invariant, the structure is initialized and does not move. It is
        // freed only after ftrace has unregistered it.
        to_result(unsafe { bindings::register_ftrace_function(self.memory.get()) })?;
        // INVARIANT: ftrace knows the structure from now on.
        self.registered = true;
        Ok(())
    }

    /// Has ftrace forget the user, and waits until no handler runs for it. Errors: `ENODEV` if
    /// ftrace has shut itself down. Then it may still call the handler.
    pub(crate) fn unregister(&mut self) -> Result {
        // SAFETY: By the type's invariant, the structure is initialized. ftrace refuses one that it
        // does not know.
        to_result(unsafe { bindings::unregister_ftrace_function(self.memory.get()) })?;
        // INVARIANT: ftrace has forgotten the structure.
        self.registered = false;
        Ok(())
    }

    /// Has ftrace put branches to `addresses` in place of its calls at `locations`. A location
    /// keeps the call if its address is 0 or if anything but this user is attached there.
    ///
    /// # Safety
    ///
    /// Each address is 0, or the handler sends every call at that location there. That stays so
    /// until [`Self::unsettle`] has returned.
    #[cfg(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED)]
    pub(crate) unsafe fn settle(&mut self, locations: &[c_ulong], addresses: &[c_ulong]) -> Result {
        let count = locations.len().min(addresses.len());
        // SAFETY: By the type's invariant, the structure is initialized. Both arrays are only read,
        // up to `count`. The branches lead to where the handler leads, as the caller has promised.
        to_result(unsafe {
            bindings::ftrace_settle(
                self.memory.get(),
                locations.as_ptr(),
                addresses.as_ptr(),
                count as c_uint,
            )
        })
    }

    /// Refuses: this kernel's ftrace has no such branches.
    ///
    /// # Safety
    ///
    /// There are no requirements.
    #[cfg(not(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED))]
    pub(crate) unsafe fn settle(&mut self, _: &[c_ulong], _: &[c_ulong]) -> Result {
        Err(EOPNOTSUPP)
    }

    /// Has ftrace call the handler again at all locations.
    #[cfg(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED)]
    pub(crate) fn unsettle(&mut self) -> Result {
        // SAFETY: By the type's invariant, the structure is initialized.
        to_result(unsafe { bindings::ftrace_unsettle(self.memory.get()) })
    }

    /// Does nothing: this kernel's ftrace has no such branches.
    #[cfg(not(CONFIG_DYNAMIC_FTRACE_WITH_SETTLED))]
    pub(crate) fn unsettle(&mut self) -> Result {
        Ok(())
    }
}

impl Drop for Ops {
    fn drop(&mut self) {
        if self.registered && self.unregister().is_err() {
            // ftrace may still use the structure, so it is lost.
            return;
        }
        match &mut self.memory {
            // The filter stays until the next user sets its own: ftrace may still be looking at it.
            Memory::Lasting(number) => {
                if let Some(user) = LASTING.get(*number) {
                    // Release: pairs with the acquire in `Memory::take`.
                    user.store(Since::now().to_raw(), Release);
                }
            }
            Memory::Own(own) => {
                // SAFETY: ftrace does not know the structure, and has waited for its users.
                unsafe { bindings::ftrace_free_filter(own.get()) };
                // SAFETY: ftrace does not know the structure, and it is not used any more.
                unsafe { ManuallyDrop::drop(own) };
            }
        }
    }
}

/// Whether ftrace has shut itself down.
pub(crate) fn is_dead() -> bool {
    // SAFETY: `ftrace_is_dead()` only reads a flag, which is never cleared.
    unsafe { bindings::ftrace_is_dead() != 0 }
}

/// Whether ftrace can trace a function at exactly this place.
pub(crate) fn is_location(place: usize) -> bool {
    // SAFETY: `ftrace_location_range()` only looks the addresses up, and accepts any.
    unsafe { bindings::ftrace_location_range(place, place) != 0 }
}
