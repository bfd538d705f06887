// SPDX-License-Identifier: GPL-2.0
//! powerpc: 64-bit, little-endian, ELFv2.

use crate::arch::{Arch, Field, Flow, Instruction, Relocation};
use crate::graph::{Block, Reference, Target};
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
        // A call out of the module goes through a stub that stores the TOC pointer in the caller's
        // frame. In a sibling call that frame belongs to a caller of another module.
        let sibling = |reference: &&Reference<'_>| {
            let instruction = usize::try_from(reference.offset)
                .ok()
                .and_then(|at| self.decode(function.bytes, at));
            reference.kind == elf::R_PPC64_REL24
                && instruction.is_some_and(|found| matches!(found.flow, Flow::Jump(_)))
                && leaves(reference)
        };
        let reference = function.references.iter().find(sibling)?;
        Some((
            format!(
                "it ends in a call at offset {:#x} that leaves the module",
                reference.offset
            ),
            "add __attribute__((optimize(\"-fno-optimize-sibling-calls\"))) to it",
        ))
    }

    fn knows_flags(&self, flags: u32) -> bool {
        flags & 3 == 2
    }

    fn address64(&self) -> RelocationType {
        elf::R_PPC64_ADDR64
    }
}

/// Marks the entry of a function that computes its TOC pointer.
const R_PPC64_ENTRY: RelocationType = RelocationType(118);
/// A call by a function that has no TOC pointer.
const R_PPC64_REL24_NOTOC: RelocationType = RelocationType(116);

fn word(code: &[u8], at: usize) -> Option<u32> {
    let bytes = code.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
