// SPDX-License-Identifier: GPL-2.0
//! Walks through machine code.

use crate::arch::{Arch, Flow, Instruction};

/// Returns the instructions of `code`, each with its offset. Ends at the first one that the
/// architecture can't decode.
pub fn instructions<'a>(
    arch: &'a dyn Arch,
    code: &'a [u8],
) -> impl Iterator<Item = (usize, Instruction)> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let instruction = arch.decode(code, at)?;
        let start = at;
        at = at.checked_add(instruction.size.max(1))?;
        (at <= code.len()).then_some((start, instruction))
    })
}

/// A branch that has no relocation: the assembler has resolved it.
pub struct Branch {
    /// Offset of the instruction.
    pub at: usize,
    /// Offset of its target, from the start of the same code.
    pub target: i64,
}

/// Returns the branches of `code` whose operand none of the `relocated` offsets is in.
pub fn branches<'a>(
    arch: &'a dyn Arch,
    code: &'a [u8],
    relocated: impl Fn(usize, usize) -> bool + 'a,
) -> impl Iterator<Item = Branch> + 'a {
    instructions(arch, code).filter_map(move |(at, instruction)| {
        let (Flow::Jump(distance) | Flow::Call(distance)) = instruction.flow else {
            return None;
        };
        if relocated(at, at.saturating_add(instruction.size)) {
            return None;
        }
        let target = i64::try_from(at).ok()?.checked_add(distance)?;
        Some(Branch { at, target })
    })
}
