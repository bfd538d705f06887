// SPDX-License-Identifier: GPL-2.0

//! Host-side crate of `arch/`: every backend, and what each of them claims to support.
//!
//! The kernel compiles only the backend that it needs, through `livepatch_arch.rs`.

#![no_std]
#![forbid(unsafe_code)]

pub mod arm64;
mod backend;
mod capability;
pub mod powerpc;
pub mod riscv64;
pub mod s390;
pub mod x86_64;

#[path = "arm64/claims.rs"]
mod arm64_claims;
#[path = "powerpc/claims.rs"]
mod powerpc_claims;
#[path = "riscv64/claims.rs"]
mod riscv64_claims;
#[path = "s390/claims.rs"]
mod s390_claims;
#[path = "x86_64/claims.rs"]
mod x86_64_claims;

pub use backend::Backend;
pub use capability::Capability;

/// Whether a backend supports a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The backend supports it.
    Yes,
    /// The backend does not support it, for this reason. The core does without it.
    No(&'static str),
}

/// Reasons that several backends give.
mod reason {
    pub const EXCEPTION: &str = "a trace that meets an exception is not reliable: \
                                 the task moves on its way to user mode";
    pub const ALIGNED: &str = "no instruction is at an odd address";
}

/// What a backend claims.
pub trait Claim: Backend {
    /// The unsupported capabilities, each with the reason. A finished port claims all others.
    const UNSUPPORTED: &'static [(Capability, &'static str)];

    /// What the port lacks, while it is in progress. An unfinished port claims no capability.
    const IN_PROGRESS: Option<&'static str> = None;
}

/// The claims of one backend.
#[derive(Debug)]
pub struct Claims {
    /// The backend's name.
    pub name: &'static str,
    /// What the port lacks, while it is in progress.
    pub in_progress: Option<&'static str>,
    unsupported: &'static [(Capability, &'static str)],
}

impl Claims {
    const fn of<B: Claim>() -> Self {
        Self {
            name: B::NAME,
            in_progress: B::IN_PROGRESS,
            unsupported: B::UNSUPPORTED,
        }
    }

    /// Whether the backend supports `capability`.
    pub fn support(&self, capability: Capability) -> Support {
        let mut unsupported = self.unsupported.iter();
        let reason = unsupported.find(|(other, _)| *other == capability);
        match reason.map(|(_, reason)| *reason).or(self.in_progress) {
            Some(reason) => Support::No(reason),
            None => Support::Yes,
        }
    }
}

/// Every backend.
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
