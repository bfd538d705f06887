// SPDX-License-Identifier: GPL-2.0
//! x86_64.

use crate::arch::{Arch, Field, Flow, Instruction, Relocation};
use crate::graph::{Block, Target};
use crate::special::{self, derived, Entries, Special};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, OpKind, Register};
use object::elf::{self, Machine, RelocationType};

/// The backend.
#[derive(Debug)]
pub struct X86_64;

static SPECIAL: &[Special] = &[
    special::alternatives(&[12, 13, 14], &[(12, 11), (13, 11), (14, 13)]),
    special::keyed(".static_call_sites", &[8], 1),
    special::sized(".parainstructions", &[16], 0),
    special::places(".smp_locks"),
    special::places(".call_sites"),
    special::places(".retpoline_sites"),
    special::places(".return_sites"),
    special::places(".ibt_endbr_seal"),
    derived(".orc_unwind_ip", Entries::Sized(&[4], 0)),
    derived(".orc_unwind", Entries::Beside(".orc_unwind_ip", 4)),
];

impl Arch for X86_64 {
    fn name(&self) -> &'static str {
        "x86_64"
    }

    fn machine(&self) -> Machine {
        elf::EM_X86_64
    }

    fn relocation(&self, kind: RelocationType) -> Option<Relocation> {
        Some(match kind {
            elf::R_X86_64_NONE => Relocation::None,
            elf::R_X86_64_64 => Relocation::Address(Field::bytes(8)),
            elf::R_X86_64_32 | elf::R_X86_64_32S => Relocation::Address(Field::bytes(4)),
            elf::R_X86_64_PC64 => Relocation::Relative(Field::bytes(8)),
            elf::R_X86_64_PC32 => Relocation::Relative(Field::bytes(4)),
            elf::R_X86_64_PLT32 => Relocation::Branch(Field::bytes(4)),
            _ => return None,
        })
    }

    fn branch(&self, code: &[u8], at: usize) -> Option<(RelocationType, u64)> {
        let instruction = decode(code, at)?;
        let operand = instruction.len().checked_sub(4)?;
        let near = matches!(
            instruction.flow_control(),
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        );
        (near && instruction.len() >= 5).then_some((elf::R_X86_64_PLT32, operand as u64))
    }

    fn distance(&self, kind: RelocationType, _: u64, offset: u64, end: u64) -> i64 {
        match kind {
            // The processor counts from the end of the instruction, the linker from the field.
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 | elf::R_X86_64_PC64 => {
                end.wrapping_sub(offset) as i64
            }
            _ => 0,
        }
    }

    fn decode(&self, code: &[u8], at: usize) -> Option<Instruction> {
        let instruction = decode(code, at)?;
        let target = (instruction.near_branch_target() as i64).wrapping_sub(BASE as i64);
        let flow = match instruction.flow_control() {
            FlowControl::Next | FlowControl::Interrupt | FlowControl::Exception => Flow::Next,
            FlowControl::Call => Flow::Call(target),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => Flow::Jump(target),
            _ => Flow::Indirect,
        };
        let written = match instruction.op0_kind() {
            OpKind::Register => argument(instruction.op0_register()),
            _ => None,
        };
        Some(Instruction {
            size: instruction.len(),
            flow,
            argument: written,
            immediate: matches!(
                instruction.code(),
                Code::Mov_r32_imm32 | Code::Mov_rm32_imm32
            ),
        })
    }

    fn has_patch_site(&self, function: &Block<'_>) -> bool {
        // `endbr64` may come first. Where objtool has run, the call is a nop already.
        let is_entry = |target: &Target<'_>| matches!(target, Target::External("__fentry__"));
        let mut first = function
            .references
            .iter()
            .filter(|reference| reference.offset.wrapping_sub(function.entry) <= 5);
        first.any(|reference| is_entry(&reference.target))
    }

    fn lists_sites(&self, section: &str) -> bool {
        section.starts_with("__mcount_loc")
    }

    fn special(&self) -> &'static [Special] {
        SPECIAL
    }

    fn address64(&self) -> RelocationType {
        elf::R_X86_64_64
    }
}

/// Far enough from both ends that targets of branches stay in the address space.
const BASE: u64 = 1 << 40;

fn decode(code: &[u8], at: usize) -> Option<iced_x86::Instruction> {
    let mut decoder = Decoder::with_ip(64, code.get(at..)?, BASE, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

fn argument(register: Register) -> Option<u8> {
    let registers = [
        Register::RDI,
        Register::RSI,
        Register::RDX,
        Register::RCX,
        Register::R8,
        Register::R9,
    ];
    let at = registers
        .iter()
        .position(|&full| full == register.full_register())?;
    u8::try_from(at).ok()
}
