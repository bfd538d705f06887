// SPDX-License-Identifier: GPL-2.0
//! s390.

use crate::arch::{Arch, Field, Flow, Instruction, Relocation};
use crate::graph::Block;
use crate::special::{self, Special};
use object::elf::{self, Machine, RelocationType};

/// The backend.
#[derive(Debug)]
pub struct S390;

static SPECIAL: &[Special] = &[
    special::alternatives(&[12, 13], &[(12, 11), (13, 12)]),
    special::places(".s390_indirect_branches"),
    special::places(".s390_indirect_call"),
    special::places(".s390_indirect_jump"),
    special::places(".s390_return_mem"),
    special::places(".s390_return_reg"),
];

/// `jgnop 0`, which the tracer replaces at a function's entry.
const ENTRY: [u8; 6] = [0xc0, 0x04, 0, 0, 0, 0];

impl Arch for S390 {
    fn name(&self) -> &'static str {
        "s390"
    }

    fn machine(&self) -> Machine {
        elf::EM_S390
    }

    fn big_endian(&self) -> bool {
        true
    }

    fn relocation(&self, kind: RelocationType) -> Option<Relocation> {
        let low = |bits| Field { size: 2, bits };
        Some(match kind {
            elf::R_390_NONE => Relocation::None,
            elf::R_390_64 => Relocation::Address(Field::bytes(8)),
            elf::R_390_32 => Relocation::Address(Field::bytes(4)),
            elf::R_390_16 => Relocation::Address(Field::bytes(2)),
            elf::R_390_12 => Relocation::Address(low(0x0fff)),
            elf::R_390_PC64 => Relocation::Relative(Field::bytes(8)),
            elf::R_390_PC32 => Relocation::Relative(Field::bytes(4)),
            elf::R_390_PC32DBL => Relocation::Relative(Field::bytes(4)),
            elf::R_390_GOTENT => Relocation::Slot(Field::bytes(4)),
            elf::R_390_PC16DBL => Relocation::Branch(Field::bytes(2)),
            elf::R_390_PLT32DBL => Relocation::Branch(Field::bytes(4)),
            elf::R_390_PLT16DBL => Relocation::Branch(Field::bytes(2)),
            _ => return None,
        })
    }

    fn branch(&self, code: &[u8], at: usize) -> Option<(RelocationType, u64)> {
        let instruction = self.decode(code, at)?;
        let long = instruction.size == 6 && *code.get(at)? == 0xc0;
        let branch = matches!(instruction.flow, Flow::Jump(_) | Flow::Call(_));
        (long && branch).then_some((elf::R_390_PLT32DBL, 2))
    }

    fn distance(&self, kind: RelocationType, start: u64, offset: u64, _: u64) -> i64 {
        match kind {
            // The processor counts from the start of the instruction, the linker from the field.
            elf::R_390_PC32DBL
            | elf::R_390_PC16DBL
            | elf::R_390_PLT32DBL
            | elf::R_390_PLT16DBL
            | elf::R_390_GOTENT => start.wrapping_sub(offset) as i64,
            _ => 0,
        }
    }

    fn decode(&self, code: &[u8], at: usize) -> Option<Instruction> {
        let code = code.get(at..)?;
        let first = *code.first()?;
        let size = match first >> 6 {
            0 => 2,
            3 => 6,
            _ => 4,
        };
        let code = code.get(..size)?;
        let byte = |at: usize| code.get(at).copied().unwrap_or(0);
        let (low, register) = (byte(1) & 0x0f, byte(1) >> 4);
        let near = i64::from(i16::from_be_bytes([byte(2), byte(3)])) * 2;
        let far = i64::from(i32::from_be_bytes([byte(2), byte(3), byte(4), byte(5)])) * 2;
        let flow = match (first, low) {
            (0xa7, 0x5) => Flow::Call(near),
            (0xa7, 0x4 | 0x6 | 0x7) => Flow::Jump(near),
            (0xc0, 0x4) if byte(1) >> 4 == 0 => Flow::Next,
            (0xc0, 0x4) => Flow::Jump(far),
            (0xc0, 0x5) => Flow::Call(far),
            (0xec, _)
                if matches!(
                    byte(5),
                    0x64 | 0x65 | 0x76 | 0x77 | 0x7c..=0x7f | 0x44 | 0x45
                ) =>
            {
                Flow::Jump(near)
            }
            (0x05 | 0x07 | 0x0d, _) => Flow::Indirect,
            _ => Flow::Next,
        };
        Some(Instruction {
            size,
            flow,
            argument: (2..7).contains(&register).then(|| register - 2),
            // lhi, lghi; lgfi, llilf
            immediate: matches!((first, low), (0xa7, 0x8 | 0x9) | (0xc0, 0x1 | 0xf)),
        })
    }

    fn has_patch_site(&self, function: &Block<'_>) -> bool {
        function.bytes.starts_with(&ENTRY)
    }

    fn special(&self) -> &'static [Special] {
        SPECIAL
    }

    fn address64(&self) -> RelocationType {
        elf::R_390_64
    }
}
