// SPDX-License-Identifier: GPL-2.0
//! arm64.

use crate::arch::{Arch, Field, Flow, Instruction, Relocation};
use crate::graph::Block;
use crate::special::{self, Special};
use object::elf::{self, Machine, RelocationType};

/// The backend.
#[derive(Debug)]
pub struct Arm64;

static SPECIAL: &[Special] = &[special::alternatives(&[12], &[(12, 11)])];

/// The bits of instructions that hold operands.
const ADR: u64 = 0x60ff_ffe0;
const IMM12: u64 = 0x003f_fc00;
const IMM14: u64 = 0x0007_ffe0;
const IMM16: u64 = 0x001f_ffe0;
const IMM19: u64 = 0x00ff_ffe0;
const IMM26: u64 = 0x03ff_ffff;

const fn instruction(bits: u64) -> Field {
    Field { size: 4, bits }
}

impl Arch for Arm64 {
    fn name(&self) -> &'static str {
        "arm64"
    }

    fn machine(&self) -> Machine {
        elf::EM_AARCH64
    }

    fn relocation(&self, kind: RelocationType) -> Option<Relocation> {
        Some(match kind {
            elf::R_AARCH64_NONE => Relocation::None,
            elf::R_AARCH64_ABS64 => Relocation::Address(Field::bytes(8)),
            elf::R_AARCH64_ABS32 => Relocation::Address(Field::bytes(4)),
            elf::R_AARCH64_PREL64 => Relocation::Relative(Field::bytes(8)),
            elf::R_AARCH64_PREL32 => Relocation::Relative(Field::bytes(4)),
            elf::R_AARCH64_ADR_PREL_LO21
            | elf::R_AARCH64_ADR_PREL_PG_HI21
            | elf::R_AARCH64_ADR_PREL_PG_HI21_NC => Relocation::Relative(instruction(ADR)),
            elf::R_AARCH64_ADD_ABS_LO12_NC
            | elf::R_AARCH64_LDST8_ABS_LO12_NC
            | elf::R_AARCH64_LDST16_ABS_LO12_NC
            | elf::R_AARCH64_LDST32_ABS_LO12_NC
            | elf::R_AARCH64_LDST64_ABS_LO12_NC
            | elf::R_AARCH64_LDST128_ABS_LO12_NC => Relocation::Address(instruction(IMM12)),
            elf::R_AARCH64_MOVW_UABS_G0
            | elf::R_AARCH64_MOVW_UABS_G0_NC
            | elf::R_AARCH64_MOVW_UABS_G1
            | elf::R_AARCH64_MOVW_UABS_G1_NC
            | elf::R_AARCH64_MOVW_UABS_G2
            | elf::R_AARCH64_MOVW_UABS_G2_NC
            | elf::R_AARCH64_MOVW_UABS_G3 => Relocation::Address(instruction(IMM16)),
            elf::R_AARCH64_TSTBR14 => Relocation::Branch(instruction(IMM14)),
            elf::R_AARCH64_CONDBR19 => Relocation::Branch(instruction(IMM19)),
            elf::R_AARCH64_LD_PREL_LO19 => Relocation::Relative(instruction(IMM19)),
            elf::R_AARCH64_JUMP26 | elf::R_AARCH64_CALL26 => Relocation::Branch(instruction(IMM26)),
            _ => return None,
        })
    }

    fn branch(&self, code: &[u8], at: usize) -> Option<(RelocationType, u64)> {
        match self.decode(code, at)?.flow {
            Flow::Call(_) => Some((elf::R_AARCH64_CALL26, 0)),
            Flow::Jump(_) if word(code, at)? >> 26 == 0b000101 => Some((elf::R_AARCH64_JUMP26, 0)),
            _ => None,
        }
    }

    fn decode(&self, code: &[u8], at: usize) -> Option<Instruction> {
        let word = word(code, at)?;
        let flow = match word >> 24 {
            _ if word >> 26 == 0b000101 => Flow::Jump(signed(word, 26)),
            _ if word >> 26 == 0b100101 => Flow::Call(signed(word, 26)),
            0x54 | 0x34 | 0x35 | 0xb4 | 0xb5 => Flow::Jump(signed(word >> 5, 19)),
            0x36 | 0x37 | 0xb6 | 0xb7 => Flow::Jump(signed(word >> 5, 14)),
            0xd6 | 0xd7 => Flow::Indirect,
            _ => Flow::Next,
        };
        let written = (word & 0x1f) as u8;
        // Everything that can load an argument writes its first register; stores and branches read.
        let data = matches!(word >> 24 & 0x1f, 0x10..=0x13) || word & 0x0840_0000 == 0x0840_0000;
        Some(Instruction {
            size: 4,
            flow,
            argument: (data && written < 8).then_some(written),
            // movz, movn
            immediate: matches!(word >> 23 & 0xff, 0xa5 | 0x25),
        })
    }

    fn is_mapping_symbol(&self, name: &str) -> bool {
        let kind = name.strip_prefix('$').map(|rest| rest.split('.').next());
        matches!(kind, Some(Some("x" | "d")))
    }

    fn has_patch_site(&self, _: &Block<'_>) -> bool {
        false
    }

    fn special(&self) -> &'static [Special] {
        SPECIAL
    }

    fn address64(&self) -> RelocationType {
        elf::R_AARCH64_ABS64
    }
}

fn word(code: &[u8], at: usize) -> Option<u32> {
    let bytes = code.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The distance in bytes that the lowest `bits` of `word` hold in instructions.
fn signed(word: u32, bits: u32) -> i64 {
    let shift = 32 - bits;
    i64::from((word << shift) as i32 >> shift) * 4
}
