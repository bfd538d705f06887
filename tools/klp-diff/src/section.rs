// SPDX-License-Identifier: GPL-2.0
//! What the sections of a kernel object are for.

use crate::arch::Arch;
use crate::author;
use crate::special::{self, Special};
use object::elf;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing that runs depends on it: debug information, notes, what the linker discards.
    Ignored,
    /// Functions.
    Code,
    /// Functions that the tracer must not touch.
    UntraceableCode,
    /// String literals.
    Strings,
    /// Constants that are known by their contents only.
    Constants,
    /// Read-only data.
    ReadOnly,
    /// Data of the code that uses it: what sanitizers and macros describe a place in the source with.
    Places,
    /// Data.
    Data,
    /// Code and data that are gone after initialisation.
    Initialisation,
    /// The table of indirect operands.
    Operands,
    /// A table that describes functions, entry by entry.
    Special(&'static Special),
    /// Lists the functions' patch sites.
    Sites,
    /// What the author of the patch says to the engine.
    Wishes,
    /// Anything else that is in memory at run time.
    Other,
}

impl Role {
    /// Whether it holds functions.
    pub fn is_code(self) -> bool {
        matches!(self, Self::Code | Self::UntraceableCode)
    }

    /// Whether nothing in it can change at run time.
    pub fn is_constant(self) -> bool {
        matches!(self, Self::Strings | Self::Constants | Self::ReadOnly)
    }

    /// Whether all of it is compared by contents, and copied.
    pub fn is_private(self) -> bool {
        matches!(
            self,
            Self::Strings | Self::Constants | Self::Places | Self::Operands | Self::Special(_)
        )
    }
}

/// Returns what a section is for, by its name, type and flags.
pub fn role(arch: &dyn Arch, name: &str, kind: elf::SectionType, flags: elf::SectionFlags) -> Role {
    let has = |flag: elf::SectionFlags| flags.0 & flag.0 != 0;
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let under = |prefixes: &[&str]| {
        let rest = |prefix: &&str| name.strip_prefix(*prefix);
        let mut rests = prefixes.iter().filter_map(rest);
        rests.any(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !matches!(kind, elf::SHT_PROGBITS | elf::SHT_NOBITS | elf::SHT_NOTE) {
        // Some assemblers give unwind information a type of its own.
        return match has(elf::SHF_ALLOC) && !name.starts_with(".eh_frame") {
            true => Role::Other,
            false => Role::Ignored,
        };
    }
    if let Some(special) = special::find(arch, name) {
        return Role::Special(special);
    }
    if author::is_wish(name) {
        return Role::Wishes;
    }
    if under(&["__mcount_loc", "__patchable_function_entries"]) {
        return Role::Sites;
    }
    if arch.is_operand_table(name) {
        return Role::Operands;
    }
    if !has(elf::SHF_ALLOC)
        || kind == elf::SHT_NOTE
        || starts(&[
            ".discard.",
            ".eh_frame",
            ".sframe",
            ".llvm",
            ".note",
            ".comment",
        ])
        || under(&[".modinfo", ".printk_index", "__addressable"])
    {
        return Role::Ignored;
    }
    let initial = [".init", ".exit", ".ref", ".head", ".meminit", ".devinit"];
    if under(&initial) || starts(&[".initcall"]) {
        return Role::Initialisation;
    }
    if has(elf::SHF_EXECINSTR) {
        let untraceable = [
            ".noinstr",
            ".entry",
            ".kprobes",
            ".cpuidle",
            ".irqentry",
            ".softirqentry",
            ".head",
            ".idmap",
            ".static_call",
        ];
        let rest = name.strip_prefix('.').unwrap_or(name);
        return match untraceable.iter().any(|name| {
            rest.strip_suffix(".text")
                .is_some_and(|rest| name.get(1..) == Some(rest))
        }) {
            true => Role::UntraceableCode,
            false => Role::Code,
        };
    }
    if starts(&[".data..Lubsan", ".data..L__unnamed", ".rodata..Lubsan"])
        || under(&["__dyndbg", "__verbose"])
    {
        return Role::Places;
    }
    if has(elf::SHF_MERGE) && !has(elf::SHF_WRITE) {
        return match has(elf::SHF_STRINGS) {
            true => Role::Strings,
            false => Role::Constants,
        };
    }
    if under(&[".rodata", ".data.rel.ro", ".data.rel.ro.local"]) || name.starts_with(".rodata") {
        return Role::ReadOnly;
    }
    if under(&[".data", ".bss", ".sdata", ".sbss"]) {
        return Role::Data;
    }
    Role::Other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;

    #[test]
    fn a_section_of_an_unknown_type_is_in_no_module() {
        let arch = arch::find(elf::EM_X86_64, false).unwrap();
        let unknown = elf::SectionType(9601);
        let of = |kind, flags| role(arch, "__bug_table", kind, flags);
        assert_eq!(of(unknown, elf::SectionFlags(0)), Role::Ignored);
        assert_eq!(of(unknown, elf::SHF_ALLOC), Role::Other);
        assert!(matches!(
            of(elf::SHT_PROGBITS, elf::SHF_ALLOC),
            Role::Special(_)
        ));
    }
}
