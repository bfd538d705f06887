// SPDX-License-Identifier: GPL-2.0

//! What a backend can claim to support.
//!
//! The conformance suite exercises each of these in a running kernel and holds it against the claim.

/// Something that live patching does, where the architecture has a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Redirected calls keep 0 to 8 integer arguments.
    IntegerArguments,
    /// They leave floating-point and vector registers alone.
    VectorRegisters,
    /// They keep structs that are passed and returned by value.
    StructByValue,
    /// They keep the hidden pointer to a struct that is returned in memory.
    StructByPointer,
    /// They keep variable arguments.
    Variadic,
    /// A function of the kernel itself can be patched.
    KernelFunction,
    /// A function of a module can, called from within and from other modules.
    ModuleFunction,
    /// A function that ends in a call, or is called at another one's end, can.
    SiblingCall,
    /// A function that calls itself can.
    Recursion,
    /// A function can be patched while a task sleeps in it.
    SleepingFunction,
    /// Likewise while a task was interrupted in it.
    PreemptedFunction,
    /// The stack of a task that was interrupted anywhere else can be relied on.
    UnwindInterrupts,
    /// Softirqs and interrupts see what the task that they interrupt sees.
    UnwindSoftirqs,
    /// The stacks of kthreads can be relied on.
    UnwindKthreads,
    /// A new function reaches symbols that its object keeps to itself.
    RelocationsLocal,
    /// Still when that object, a module, came and went many times.
    RelocationsAgain,
    /// It reaches exported ones.
    RelocationsExported,
    /// Static calls in a new function work.
    StaticCalls,
    /// So do jump labels.
    JumpLabels,
    /// So do alternatives.
    Alternatives,
    /// A replacement may be at an odd address.
    UnalignedReplacement,
    /// Settled gear: once all tasks have moved, calls go straight to the new function.
    SettledGear,
}

impl Capability {
    /// Each of them, in order.
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

    /// What it is called, in the suite and wherever people read of it.
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// What it means, in one line.
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
