// SPDX-License-Identifier: GPL-2.0

//! Architecture backends of the livepatch core: one folder each, behind one trait.
//!
//! A backend knows how its architecture saves registers for ftrace and what it supports. It knows
//! nothing of patches, and contains no unsafe code: the bridge casts what ftrace hands it to
//! [`Backend::Registers`], whose layout the host tests hold against the kernel tree's own headers.
//!
//! Every backend has the same parts in the same order: what ftrace saves, the patch site of a function,
//! reliable stacks, relocations, the settled gear. To add one: `Documentation/livepatch/rust/porting.rst`.

#![cfg_attr(not(CONFIG_LIVEPATCH), no_std)]
#![forbid(unsafe_code)]

pub mod arm64;
mod capability;
pub mod powerpc;
pub mod riscv64;
pub mod s390;
pub mod x86_64;

pub use capability::Capability;

/// The registers that ftrace saves for a handler (`struct ftrace_regs`), as far as the core reads
/// or writes them.
pub trait SavedRegisters {
    /// Where the field of the instruction pointer is, in bytes from the start.
    const INSTRUCTION_POINTER: usize;

    /// Where the traced function continues.
    fn instruction_pointer(&self) -> usize;

    /// Lets it continue at `address` instead.
    ///
    /// C counterpart: `ftrace_regs_set_instruction_pointer()`.
    fn set_instruction_pointer(&mut self, address: usize);
}

/// Whether a backend supports something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It doesn't, for this reason. The core does without.
    No(&'static str),
}

/// What the core has to know of an architecture.
pub trait Backend {
    /// The name, as in the folder and in the log.
    const NAME: &'static str;

    /// The layout of the registers that ftrace saves.
    type Registers: SavedRegisters;

    /// Stack traces that say of themselves whether they are complete. Without, tasks move only on their
    /// way to user mode and in the idle loop.
    const RELIABLE_STACK: Support;

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

    /// What it doesn't support, each with the reason. All else it claims, unless it is in progress.
    const UNSUPPORTED: &'static [(Capability, &'static str)];

    /// Where the port stops, while it is in progress: as long, it claims nothing.
    const IN_PROGRESS: Option<&'static str> = None;

    /// Whether it supports this.
    fn support(capability: Capability) -> Support {
        support(Self::UNSUPPORTED, Self::IN_PROGRESS, capability)
    }
}

fn support(
    unsupported: &[(Capability, &'static str)],
    in_progress: Option<&'static str>,
    capability: Capability,
) -> Support {
    let mut unsupported = unsupported.iter();
    let reason = unsupported.find(|(other, _)| *other == capability);
    match reason.map(|(_, reason)| *reason).or(in_progress) {
        Some(reason) => Support::No(reason),
        None => Support::Yes,
    }
}

/// The backend of the kernel that is being built.
#[cfg(CONFIG_ARM64)]
pub type Native = arm64::Arm64;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_PPC64)]
pub type Native = powerpc::Powerpc;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_RISCV)]
pub type Native = riscv64::Riscv64;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_S390)]
pub type Native = s390::S390;
/// The backend of the kernel that is being built.
#[cfg(CONFIG_X86_64)]
pub type Native = x86_64::X86_64;

/// A backend as those see it that run on the host and work with any.
#[cfg(not(CONFIG_LIVEPATCH))]
#[derive(Debug)]
pub struct Claims {
    /// The backend's name.
    pub name: &'static str,
    /// Where the port stops, while it is in progress.
    pub in_progress: Option<&'static str>,
    unsupported: &'static [(Capability, &'static str)],
}

#[cfg(not(CONFIG_LIVEPATCH))]
impl Claims {
    const fn of<B: Backend>() -> Self {
        Self {
            name: B::NAME,
            in_progress: B::IN_PROGRESS,
            unsupported: B::UNSUPPORTED,
        }
    }

    /// Whether it supports this.
    pub fn support(&self, capability: Capability) -> Support {
        support(self.unsupported, self.in_progress, capability)
    }
}

/// Every backend.
#[cfg(not(CONFIG_LIVEPATCH))]
pub static BACKENDS: &[Claims] = &[
    Claims::of::<arm64::Arm64>(),
    Claims::of::<powerpc::Powerpc>(),
    Claims::of::<riscv64::Riscv64>(),
    Claims::of::<s390::S390>(),
    Claims::of::<x86_64::X86_64>(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_words_of_their_own() {
        for (index, capability) in Capability::ALL.iter().enumerate() {
            let name = capability.name();
            assert!(name.chars().all(|c| c == '-' || c.is_ascii_lowercase()));
            assert!(Capability::ALL[..index]
                .iter()
                .all(|other| other.name() != name));
        }
    }

    #[test]
    fn what_is_not_claimed_has_one_reason() {
        for backend in BACKENDS {
            for (index, (capability, reason)) in backend.unsupported.iter().enumerate() {
                assert!(!reason.is_empty());
                assert_eq!(backend.support(*capability), Support::No(reason));
                let before = &backend.unsupported[..index];
                assert!(before.iter().all(|(other, _)| other != capability));
            }
        }
    }

    /// ftrace and a backend say with the lowest bit what kind of branch is meant.
    #[test]
    fn a_branch_to_an_address_that_it_cannot_express_is_not_offered() {
        fn check<B: Backend>(alignment: usize) {
            const FUNCTION: usize = 0x1000;
            for address in FUNCTION..FUNCTION + 16 {
                let call = B::settled_call(address);
                let offered = address % alignment == 0 && B::settled_call(FUNCTION).is_some();
                assert_eq!(call.is_some(), offered, "{} {address:#x}", B::NAME);
                assert!(call.is_none_or(|call| call & !1 == address), "{}", B::NAME);
            }
        }
        check::<arm64::Arm64>(4);
        check::<powerpc::Powerpc>(4);
        check::<riscv64::Riscv64>(2);
        check::<s390::S390>(2);
        check::<x86_64::X86_64>(2);
    }

    #[test]
    fn the_nearest_patch_site_comes_first() {
        fn check<B: Backend>() {
            assert!(!B::SITE_OFFSETS.is_empty(), "{}", B::NAME);
            assert!(B::SITE_OFFSETS.is_sorted_by(|a, b| a < b), "{}", B::NAME);
        }
        check::<arm64::Arm64>();
        check::<powerpc::Powerpc>();
        check::<riscv64::Riscv64>();
        check::<s390::S390>();
        check::<x86_64::X86_64>();
    }

    #[test]
    fn a_backend_in_progress_claims_nothing() {
        for backend in BACKENDS {
            let mut all = Capability::ALL.iter();
            let claims = all.any(|capability| backend.support(*capability) == Support::Yes);
            assert_eq!(claims, backend.in_progress.is_none(), "{}", backend.name);
            assert_ne!(backend.in_progress, Some(""));
        }
    }
}
