// SPDX-License-Identifier: GPL-2.0

//! What a backend is.

/// The registers that ftrace saves for a handler (`struct ftrace_regs`), as far as the core reads
/// or writes them.
pub trait SavedRegisters {
    /// Lets the traced function continue at `address`.
    ///
    /// C counterpart: `ftrace_regs_set_instruction_pointer()`.
    fn set_instruction_pointer(&mut self, address: usize);
}

/// What the core has to know of an architecture.
pub trait Backend {
    /// The name, as in the folder and in the log.
    const NAME: &'static str;

    /// The layout of the registers that ftrace saves.
    type Registers: SavedRegisters;

    /// Whether stack traces say of themselves that they are complete. Without, tasks move only on their
    /// way to user mode and in the idle loop.
    const RELIABLE_STACK: bool;

    /// Where `struct thread_struct` keeps the stack pointer of a task that sleeps, in bytes, if all of its
    /// return addresses are above that on its stack, as they are. Such a stack can be searched for
    /// addresses, which is quicker than to unwind it.
    const SLEEPING_STACK_POINTER: Option<usize>;

    /// How far behind a function's address its patch site can be, in bytes, the nearest first.
    /// Whoever looks for the site asks about these places one after the other, so that what follows
    /// a short function is not taken for a part of it.
    ///
    /// C counterpart: `FTRACE_MCOUNT_MAX_OFFSET`, where there is one.
    const SITE_OFFSETS: &'static [usize];

    /// The settled gear: how ftrace is told to put a branch to `function` in place of its call, such
    /// that it leaves the caller's return address where it is. `None`: there is no such branch, at
    /// all or to this address.
    fn settled_call(function: usize) -> Option<usize>;
}
