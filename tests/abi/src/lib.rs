// SPDX-License-Identifier: GPL-2.0

//! What the livepatch core assumes about the layout of C structures.
//!
//! Livepatch modules that were built elsewhere bring their own `struct klp_patch`, `klp_object` and
//! `klp_func`. They fill these in up to the core's own fields. A backend writes to the registers
//! that ftrace saved. The test `layout` reads the layouts from the headers of the kernel that is
//! being built, with that kernel's own compiler flags.

use core::mem::offset_of;
use livepatch_arch::{arm64, powerpc, riscv64, s390, x86_64, Backend};

/// The expected position of a field: structure, field, offset in bytes.
pub type Field = (&'static str, &'static str, usize);

/// The fields that modules fill in, on every 64-bit architecture.
pub const DESCRIPTORS: &[Field] = &[
    ("klp_func", "old_name", 0),
    ("klp_func", "new_func", 8),
    ("klp_func", "old_sympos", 16),
    ("klp_func", "old_func", 24),
    ("klp_callbacks", "pre_patch", 0),
    ("klp_callbacks", "post_patch", 8),
    ("klp_callbacks", "pre_unpatch", 16),
    ("klp_callbacks", "post_unpatch", 24),
    ("klp_callbacks", "post_unpatch_enabled", 32),
    ("klp_object", "name", 0),
    ("klp_object", "funcs", 8),
    ("klp_object", "callbacks", 16),
    ("klp_object", "kobj", 56),
    ("klp_state", "id", 0),
    ("klp_state", "version", 8),
    ("klp_state", "data", 16),
    ("klp_patch", "mod_", 0),
    ("klp_patch", "objs", 8),
    ("klp_patch", "states", 16),
    ("klp_patch", "replace", 24),
    ("klp_patch", "list", 32),
];

/// An architecture's saved registers, as its backend uses them.
pub struct Registers {
    /// The backend's name.
    pub arch: &'static str,
    /// The instruction pointer in C, in `struct __arch_ftrace_regs`.
    pub field: &'static str,
    /// The offset that the backend uses for it.
    pub offset: usize,
    /// The offset that the backend uses for `sp` of `struct thread_struct`, if it uses that.
    pub stack_pointer: Option<usize>,
}

const fn registers<B: Backend>(field: &'static str, offset: usize) -> Registers {
    Registers {
        arch: B::NAME,
        field,
        offset,
        stack_pointer: B::SLEEPING_STACK_POINTER,
    }
}

/// The backends.
pub const REGISTERS: &[Registers] = &[
    registers::<arm64::Arm64>("pc", offset_of!(arm64::Registers, pc)),
    registers::<powerpc::Powerpc>("regs.nip", offset_of!(powerpc::Registers, nip)),
    registers::<riscv64::Riscv64>("epc", offset_of!(riscv64::Registers, epc)),
    registers::<s390::S390>("regs.psw.addr", offset_of!(s390::Registers, addr)),
    registers::<x86_64::X86_64>("regs.ip", offset_of!(x86_64::Registers, ip)),
];
