// SPDX-License-Identifier: GPL-2.0

//! What a backend can claim to support.
//!
//! The conformance suite exercises each capability in a running kernel and compares it with the
//! claim.

/// Something that live patching does and that depends on the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Redirected calls keep 0 to 8 integer arguments.
    IntegerArguments,
    /// Redirected calls leave floating-point and vector registers alone.
    VectorRegisters,
    /// Redirected calls keep structs that are passed and returned by value.
    StructByValue,
    /// Redirected calls keep the hidden pointer to a struct that is returned in memory.
    StructByPointer,
    /// Redirected calls keep variable arguments.
    Variadic,
    /// A function of the kernel itself can be patched.
    KernelFunction,
    /// A function of a module can be patched, with callers in the same module and in other modules.
    ModuleFunction,
    /// A function that ends in a call, or is called at the end of another function, can be patched.
    SiblingCall,
    /// A function that calls itself can be patched.
    Recursion,
    /// A function can be patched while a task sleeps in it.
    SleepingFunction,
    /// A function can be patched while a task was interrupted in it.
    PreemptedFunction,
    /// The stack of a task that was interrupted outside the patched functions is reliable.
    UnwindInterrupts,
    /// Softirqs and interrupts get the version that the interrupted task gets.
    UnwindSoftirqs,
    /// The stacks of kthreads are reliable.
    UnwindKthreads,
    /// A new function can refer to local symbols of its object.
    RelocationsLocal,
    /// Relocations to local symbols still work after their module was loaded and unloaded many
    /// times.
    RelocationsAgain,
    /// A new function can refer to exported symbols.
    RelocationsExported,
    /// Static calls in a new function work.
    StaticCalls,
    /// Jump labels in a new function work.
    JumpLabels,
    /// Alternatives in a new function work.
    Alternatives,
    /// A replacement may be at an odd address.
    UnalignedReplacement,
    /// Settled gear: once all tasks have moved, calls go straight to the new function.
    SettledGear,
}

impl Capability {
    /// All capabilities, in order.
    pub const ALL: &'static [Self] = &[
        Self::IntegerArguments,
        Self::VectorRegisters,
        Self::StructByValue,
        Self::StructByPointer,
        Self::Variadic,
        Self::KernelFunction,
        Self::ModuleFunction,
        Self::SiblingCall,
        Self::Recursion,
        Self::SleepingFunction,
        Self::PreemptedFunction,
        Self::UnwindInterrupts,
        Self::UnwindSoftirqs,
        Self::UnwindKthreads,
        Self::RelocationsLocal,
        Self::RelocationsAgain,
        Self::RelocationsExported,
        Self::StaticCalls,
        Self::JumpLabels,
        Self::Alternatives,
        Self::UnalignedReplacement,
        Self::SettledGear,
    ];

    /// Returns the capability's name, as used in the conformance suite and in documentation.
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// Returns a one-line description of the capability.
    pub const fn about(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::IntegerArguments => ("integer-arguments", "0 to 8 integer arguments"),
            Self::VectorRegisters => (
                "vector-registers",
                "floating-point and vector registers untouched",
            ),
            Self::StructByValue => ("struct-by-value", "structs passed and returned by value"),
            Self::StructByPointer => ("struct-by-pointer", "a struct returned by hidden pointer"),
            Self::Variadic => ("variadic", "variable arguments"),
            Self::KernelFunction => ("kernel-function", "a function of the kernel itself"),
            Self::ModuleFunction => (
                "module-function",
                "a function of a module, which comes and goes",
            ),
            Self::SiblingCall => ("sibling-call", "a call as the last thing a function does"),
            Self::Recursion => ("recursion", "a function that calls itself"),
            Self::SleepingFunction => ("sleeping-function", "a function that a task sleeps in"),
            Self::PreemptedFunction => (
                "preempted-function",
                "a function that a task is interrupted in",
            ),
            Self::UnwindInterrupts => ("unwind-interrupts", "tasks interrupted elsewhere move"),
            Self::UnwindSoftirqs => (
                "unwind-softirqs",
                "softirqs and interrupts see what their task sees",
            ),
            Self::UnwindKthreads => ("unwind-kthreads", "kthreads move, and stay where they must"),
            Self::RelocationsLocal => ("relocations-local", "relocations to local symbols"),
            Self::RelocationsAgain => (
                "relocations-again",
                "likewise of a module that comes again and again",
            ),
            Self::RelocationsExported => {
                ("relocations-exported", "relocations to exported symbols")
            }
            Self::StaticCalls => ("static-calls", "static calls in a new function"),
            Self::JumpLabels => ("jump-labels", "jump labels in a new function"),
            Self::Alternatives => ("alternatives", "alternatives in a new function"),
            Self::UnalignedReplacement => {
                ("unaligned-replacement", "a replacement at an odd address")
            }
            Self::SettledGear => (
                "settled-gear",
                "calls go straight to the replacement once all tasks have moved",
            ),
        }
    }
}
