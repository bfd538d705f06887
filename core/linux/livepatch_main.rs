// SPDX-License-Identifier: GPL-2.0

//! The bridge: the livepatch core in the running kernel.
//!
//! It implements the traits of `livepatch_core` over the kernel ([`Linux`]), provides the lock that
//! guards the core, and offers the C ABI of `include/linux/livepatch.h`. The core makes the
//! decisions, and the bridge translates.
//!
//! | file | concern |
//! |---|---|
//! | `abi.rs` | the functions that modules and the rest of the kernel call |
//! | `livepatch.c` | what has to be C: exports, the ftrace handler and its table, walks, buffers |
//! | `descriptors.rs` | `struct klp_patch`, `klp_object`, `klp_func`: read once, written back |
//! | `kobject.rs` | kobjects and attributes, for any structure |
//! | `sysfs.rs` | the directories and attributes of patches |
//! | `symbols.rs`, `relocations.rs` | kallsyms; ELF sections of livepatch modules |
//! | `ftrace.rs` | hooks, which the handler finds in its table |
//! | `ftrace_ops.rs` | users of ftrace, for any handler |
//! | `tasks.rs` | tasks, stacks, CPUs, the scheduler |
//! | `preempt.rs` | a guard that keeps preemption off |
//! | `shadow.rs` | the table of shadow variables |
//! | `why.rs` | the files in debugfs: what transitions wait for |
//! | `dynamic_debug.rs` | call sites for dynamic debug, for any message |
//! | `debug.rs` | the debug messages |
//! | `trace.rs`, `trace.h` | the tracepoints |

/// The logic. On the host it is a crate of its own, so its modules refer to each other by `super`.
#[path = "../core/livepatch_core.rs"]
#[macro_use]
mod livepatch_core;

/// The backend of each architecture. On the host it is a crate of its own too.
#[path = "../arch/livepatch_arch.rs"]
mod livepatch_arch;

mod abi;
mod debug;
mod descriptors;
mod dynamic_debug;
mod ftrace;
mod ftrace_ops;
mod kobject;
mod preempt;
mod relocations;
mod shadow;
mod symbols;
mod sysfs;
mod tasks;
#[cfg(CONFIG_LIVEPATCH_TRACE)]
mod trace;
#[cfg(CONFIG_LIVEPATCH_WHY)]
mod why;

use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    }, //
};
use livepatch_arch::{
    Backend,
    Native, //
};
use livepatch_core::registry::Core;

module! {
    type: Livepatch,
    name: "livepatch",
    authors: ["The Rust livepatch core's authors"],
    description: "Kernel Live Patching Core",
    license: "GPL",
    params: {
        settle: bool {
            default: true,
            description: "Let calls bypass the handler once every task uses the patch",
        },
        attempt_delay: u64 {
            default: 10,
            description: "Milliseconds until a transition's second attempt, 1 to 1000",
        },
        signal_delay: u64 {
            default: 20,
            description: "Milliseconds until a transition's first signals, 1 to 15000",
        },
        deadline: u32 {
            default: 0,
            description: "Seconds after which a transition is turned round, 0 for never",
        },
    },
}

/// The running kernel, as the core's traits see it.
pub(crate) struct Linux;

kernel::sync::global_lock! {
    // SAFETY: `livepatch_early_init` initializes the lock before its first use.
    pub(crate) unsafe(uninit) static KLP_MUTEX: Mutex<Core<Linux>> = Core::new();
}

/// Whether [`Livepatch::init`] is done.
static INITIALIZED: Atomic<bool> = Atomic::new(false);

/// Whether patches can be enabled. A caller that gets `true` sees all that was initialized.
pub(crate) fn is_initialized() -> bool {
    INITIALIZED.load(Acquire)
}

/// A static that C code reads and writes. Each one has its own rules for access.
#[repr(transparent)]
pub(crate) struct Static<T>(UnsafeCell<T>);

// SAFETY: A `Static` only hands out raw pointers, and each use of one argues its own soundness.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// Makes a static with its first value.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The address of the value.
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// Initializes what modules and the module loader use: the locks, the list and the work.
///
/// # Safety
///
/// This is the only call, and no module has been loaded yet.
#[no_mangle]
#[link_section = ".init.text"]
unsafe extern "C" fn livepatch_early_init() -> c_int {
    // SAFETY: This is the only call, and there was no transition yet that would be retried.
    unsafe { tasks::init() };
    // SAFETY: This is the only call, and no function was traced yet.
    unsafe { ftrace::init() };
    // SAFETY: This is the only call, and no module uses shadow variables yet.
    unsafe { shadow::KLP_SHADOW_LOCK.init() };
    // SAFETY: This is the only call, and there are no patches yet.
    unsafe { descriptors::init() };
    // SAFETY: This is the only call, and no module uses the core yet.
    unsafe { KLP_MUTEX.init() };
    0
}

struct Livepatch;

impl kernel::Module for Livepatch {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        sysfs::init()?;
        #[cfg(CONFIG_LIVEPATCH_WHY)]
        // SAFETY: This is the only call, and patches can be enabled only after this function.
        unsafe {
            why::init()
        };
        tasks::early::check_parameters();
        // Release: pairs with the acquire in `is_initialized`. The directory exists before the flag
        // is set.
        INITIALIZED.store(true, Release);
        pr_info!("Rust core, backend {}\n", Native::NAME);
        Ok(Self)
    }
}
