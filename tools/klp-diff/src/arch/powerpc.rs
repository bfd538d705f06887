// SPDX-License-Identifier: GPL-2.0
//! powerpc: 64-bit, little-endian, ELFv2.

use crate::arch::{Arch, Field, Flow, Instruction, Relocation};
use crate::graph::{Block, Reference, Symbol, Target};
use crate::special::{self, Special};
use object::elf::{self, Machine, RelocationType};

/// The backend.
#[derive(Debug)]
pub struct PowerPc;

static SPECIAL: &[Special] = &[
    special::pieces("__ftr_alt_*"),
    special::from_start("__ftr_fixup", &[48], 16),
    special::from_start("__mmu_ftr_fixup", &[48], 16),
    special::from_start("__fw_ftr_fixup", &[48], 16),
    special::from_start("__lwsync_fixup", &[8], 0),
    special::from_start("__barrier_nospec_fixup", &[8], 0),
    special::from_start("__btb_flush_fixup", &[8], 0),
    special::from_start("__stf_entry_barrier_fixup", &[8], 0),
    special::from_start("__stf_exit_barrier_fixup", &[8], 0),
    special::from_start("__uaccess_flush_fixup", &[8], 0),
    special::from_start("__entry_flush_fixup", &[8], 0),
    special::from_start("__rfi_flush_fixup", &[8], 0),
];

const HALF: Field = Field::bytes(2);
/// The lowest two bits belong to the instruction.
const HALF_DS: Field = Field {
    size: 2,
    bits: 0xfffc,
};
const REL24: Field = Field {
    size: 4,
    bits: 0x03ff_fffc,
};
const REL14: Field = Field {
    size: 4,
    bits: 0x0000_fffc,
};

impl Arch for PowerPc {
    fn name(&self) -> &'static str {
        "powerpc"
    }

    fn machine(&self) -> Machine {
        elf::EM_PPC64
    }

    fn relocation(&self, kind: RelocationType) -> Option<Relocation> {
        Some(match kind {
            elf::R_PPC64_NONE | R_PPC64_ENTRY => Relocation::None,
            elf::R_PPC64_ADDR64 => Relocation::Address(Field::bytes(8)),
            elf::R_PPC64_ADDR32 => Relocation::Address(Field::bytes(4)),
            elf::R_PPC64_REL64 => Relocation::Relative(Field::bytes(8)),
            elf::R_PPC64_REL32 => Relocation::Relative(Field::bytes(4)),
            elf::R_PPC64_TOC => Relocation::Address(Field::bytes(8)),
            elf::R_PPC64_TOC16
            | elf::R_PPC64_TOC16_LO
            | elf::R_PPC64_TOC16_HI
            | elf::R_PPC64_TOC16_HA
            | elf::R_PPC64_ADDR16_LO
            | elf::R_PPC64_ADDR16_HI
            | elf::R_PPC64_ADDR16_HA
            | elf::R_PPC64_ADDR16_HIGHER
            | elf::R_PPC64_ADDR16_HIGHEST => Relocation::Address(HALF),
            elf::R_PPC64_TOC16_DS | elf::R_PPC64_TOC16_LO_DS | elf::R_PPC64_ADDR16_LO_DS => {
                Relocation::Address(HALF_DS)
            }
            elf::R_PPC64_REL16_LO | elf::R_PPC64_REL16_HI | elf::R_PPC64_REL16_HA => {
                Relocation::Relative(HALF)
            }
            elf::R_PPC64_REL24 | R_PPC64_REL24_NOTOC => Relocation::Branch(REL24),
            elf::R_PPC64_REL14 => Relocation::Branch(REL14),
            _ => return None,
        })
    }

    fn branch(&self, code: &[u8], at: usize) -> Option<(RelocationType, u64)> {
        (word(code, at)? >> 26 == 18).then_some((elf::R_PPC64_REL24, 0))
    }

    fn decode(&self, code: &[u8], at: usize) -> Option<Instruction> {
        let word = word(code, at)?;
        let (opcode, target) = (word >> 26, (word >> 21 & 0x1f) as u8);
        let (near, far) = (
            i64::from(word as u16 as i16 & !3),
            i64::from((word << 6) as i32 >> 6 & !3),
        );
        let flow = match (opcode, word & 3) {
            (16, 0 | 1) => Flow::Jump(near),
            (18, 0) => Flow::Jump(far),
            (18, 1) => Flow::Call(far),
            (19, _) if matches!(word >> 1 & 0x3ff, 16 | 528) => Flow::Indirect,
            _ => Flow::Next,
        };
        let argument = match opcode {
            14 | 15 | 32..=35 | 40..=43 | 58 => target.checked_sub(3).filter(|&at| at < 8),
            _ => None,
        };
        Some(Instruction {
            size: 4,
            flow,
            argument,
            immediate: matches!(opcode, 14 | 15) && word >> 16 & 0x1f == 0,
        })
    }

    fn has_patch_site(&self, function: &Block<'_>) -> bool {
        let is_entry = |target: &Target<'_>| matches!(target, Target::External("_mcount"));
        let mut all = function.references.iter();
        all.any(|reference| is_entry(&reference.target))
    }

    fn site(&self, function: &Block<'_>, listed: u64) -> u64 {
        // clang lists the global entry, and leaves room for a branch at the local one. The module loader
        // tells them apart by the code of the global entry, but knows only that of the large model.
        let named = |symbol: &&Symbol<'_>| symbol.offset == listed;
        let symbol = function.symbols.iter().find(named);
        let local = symbol.map_or(listed, |symbol| listed + local_entry(symbol.other));
        match usize::try_from(local).map(|at| word(function.bytes, at)) {
            Ok(Some(NOP)) => local,
            _ => listed,
        }
    }

    fn is_operand_table(&self, section: &str) -> bool {
        section == ".toc"
    }

    fn special(&self) -> &'static [Special] {
        SPECIAL
    }

    fn is_of_loader(&self, symbol: &str) -> bool {
        symbol == ".TOC."
    }

    fn objection(
        &self,
        function: &Block<'_>,
        leaves: &dyn Fn(&Reference<'_>) -> bool,
    ) -> Option<(String, &'static str)> {
        let found = function.references.iter().filter(|at| leaves(at));
        let mut all = found.filter_map(|at| Some((at.offset, self.flaw(function, at)?)));
        let (offset, (what, remedy)) = all.next()?;
        Some((format!("{what} at offset {offset:#x}"), remedy))
    }

    fn knows_flags(&self, flags: u32) -> bool {
        flags & 3 == 2
    }

    fn address64(&self) -> RelocationType {
        elf::R_PPC64_ADDR64
    }
}

impl PowerPc {
    /// Returns why the module loader can't make a reference that leaves the module, with what to do.
    fn flaw(
        &self,
        function: &Block<'_>,
        reference: &Reference<'_>,
    ) -> Option<(&'static str, &'static str)> {
        if TOC_RELATIVE.contains(&reference.kind) {
            // The kernel is out of the reach of 32 bits, and the loader does not check that.
            return Some((
                "it refers to what is outside of the module by the distance from the TOC pointer",
                "compile both objects with -mcmodel=small or -mcmodel=large",
            ));
        }
        if reference.kind != elf::R_PPC64_REL24
            || matches!(reference.target, Target::External("_mcount"))
        {
            return None;
        }
        let at = usize::try_from(reference.offset).ok()?;
        let flow = self.decode(function.bytes, at)?.flow;
        // A call out of the module goes through a stub that stores the TOC pointer in the caller's frame.
        match (flow, word(function.bytes, at + 4)) {
            // In a sibling call, that frame belongs to a caller of another module.
            (Flow::Jump(_), _) => Some((
                "it ends in a call that leaves the module",
                "compile both objects with -fno-optimize-sibling-calls, or with clang's -mcmodel=small",
            )),
            (_, Some(NOP)) => None,
            // The loader puts the instruction that restores the TOC pointer behind the call.
            _ => Some((
                "it calls a function outside of the module, and has no nop behind the call",
                "compile both objects with clang's -mcmodel=small, or call the function through a pointer",
            )),
        }
    }
}

/// What the loader computes as a distance from the TOC pointer.
const TOC_RELATIVE: &[RelocationType] = &[
    elf::R_PPC64_TOC16,
    elf::R_PPC64_TOC16_LO,
    elf::R_PPC64_TOC16_HI,
    elf::R_PPC64_TOC16_HA,
    elf::R_PPC64_TOC16_DS,
    elf::R_PPC64_TOC16_LO_DS,
];

/// The instruction that does nothing.
const NOP: u32 = 0x6000_0000;

/// Returns the distance from the global entry of a function to the local one.
fn local_entry(other: u8) -> u64 {
    (1 << (other >> 5)) & !3
}

/// Marks the entry of a function that computes its TOC pointer.
const R_PPC64_ENTRY: RelocationType = RelocationType(118);
/// A call by a function that has no TOC pointer.
const R_PPC64_REL24_NOTOC: RelocationType = RelocationType(116);

fn word(code: &[u8], at: usize) -> Option<u32> {
    let bytes = code.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
