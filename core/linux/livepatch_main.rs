// SPDX-License-Identifier: GPL-2.0

//! The bridge: the livepatch core in the running kernel.
//!
//! It implements the traits of `livepatch_core` over the kernel ([`Linux`]), hands it the lock that
//! everything is under, and offers the C ABI of `include/linux/livepatch.h`. Decisions are made in
//! the core; what is here translates.
//!
//! | file | concern |
//! |---|---|
//! | `abi.rs` | the functions that modules and the rest of the kernel call |
//! | `livepatch.c` | what has to be C: exports, the ftrace handler, walks over tasks, per-CPU memory |
//! | `descriptors.rs` | `struct klp_patch`, `klp_object`, `klp_func`: read once, mirrored back |
//! | `sysfs.rs` | kobjects and attributes |
//! | `symbols.rs`, `relocations.rs` | kallsyms; ELF sections of livepatch modules |
//! | `ftrace.rs` | hooks, the handler, and how it finds them |
//! | `tasks.rs` | tasks, stacks, CPUs, the scheduler |
//! | `shadow.rs` | the table of shadow variables |
//! | `debug.rs` | call sites for dynamic debug |

/// What decides. On the host it is a crate of its own, and therefore refers to itself by `super`.
#[path = "../core/livepatch_core.rs"]
#[macro_use]
mod livepatch_core;

/// What is known of each architecture; likewise.
#[path = "../arch/livepatch_arch.rs"]
mod livepatch_arch;

mod abi;
mod debug;
mod descriptors;
mod ftrace;
mod relocations;
mod shadow;
mod symbols;
mod sysfs;
mod tasks;

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
    },
}

/// The running kernel, as the core's traits see it.
pub(crate) struct Linux;

kernel::sync::global_lock! {
    // SAFETY: Initialized in `livepatch_early_init`, before anyone can lock it.
    pub(crate) unsafe(uninit) static KLP_MUTEX: Mutex<Core<Linux>> = Core::new();
}

/// Whether [`Livepatch::init`] is done.
static INITIALIZED: Atomic<bool> = Atomic::new(false);

/// Whether patches can be enabled. What was initialized is visible to whoever gets true.
pub(crate) fn is_initialized() -> bool {
    INITIALIZED.load(Acquire)
}

/// A static that C code reads and writes, under rules of its own.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: A `Shared` only hands out raw pointers; whoever uses one says why that is sound.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// A static with a first value.
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is.
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// Makes ready what modules and the module loader use: the locks, the list and the work.
///
/// # Safety
///
/// Called once, as an early initcall: no module has been loaded.
#[no_mangle]
#[link_section = ".init.text"]
unsafe extern "C" fn livepatch_early_init() -> c_int {
    // SAFETY: This is called once, and nobody can have used any of these before.
    unsafe {
        tasks::init();
        ftrace::init();
        shadow::init();
        descriptors::init();
        KLP_MUTEX.init();
    }
    0
}

struct Livepatch;

impl kernel::Module for Livepatch {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        sysfs::init()?;
        // The directory before the flag.
        INITIALIZED.store(true, Release);
        pr_info!("Rust core, backend {}\n", Native::NAME);
        Ok(Self)
    }
}
