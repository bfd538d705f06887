// SPDX-License-Identifier: GPL-2.0

//! The trait that a backend implements.

/// What the core has to know of an architecture.
pub trait Backend {
    /// The backend's name, used for its folder and in the log.
    const NAME: &'static str;

    /// Whether a stack trace says whether it is complete. Without reliable stacks, tasks move only
    /// on their way to user mode and in the idle loop.
    const RELIABLE_STACK: bool;

    /// Offset in bytes of a sleeping task's stack pointer in `struct thread_struct`.
    ///
    /// Set only if all return addresses of a sleeping task are on its stack above that pointer, and
    /// are stored unmodified. Such a stack can be searched for addresses, which is quicker than
    /// unwinding.
    #[cfg_attr(not(CONFIG_LIVEPATCH_PLAIN_STACKS), allow(dead_code))]
    const SLEEPING_STACK_POINTER: Option<usize>;

    /// Possible offsets of the patch site from a function's address, in bytes, the nearest first.
    ///
    /// The search for a site tries these offsets one after the other. So the code behind a short
    /// function is not taken for a part of it.
    ///
    /// C counterpart: `FTRACE_MCOUNT_MAX_OFFSET`, on architectures that define it.
    const SITE_OFFSETS: &'static [usize];

    /// Returns the value that tells ftrace to replace its call by a branch to `function`, for the
    /// settled gear. The branch leaves the caller's return address in place. `None` if the
    /// architecture has no such branch, or none to this address.
    fn settled_call(function: usize) -> Option<usize>;
}
