// SPDX-License-Identifier: GPL-2.0
//! What the engine asks about an architecture: one trait, one file for each architecture.

mod arm64;
mod powerpc;
mod s390;
mod x86_64;

use crate::graph::{Block, Reference};
use crate::special::Special;
use object::elf::{FileHeader64, Machine, RelocationType};
use object::read::elf::FileHeader as _;
use object::Endianness;
use std::fmt::Debug;

/// The architectures that the engine knows.
static ARCHITECTURES: &[&dyn Arch] = &[
    &x86_64::X86_64,
    &arm64::Arm64,
    &s390::S390,
    &powerpc::PowerPc,
];

/// Returns the architecture of an ELF machine number and byte order.
pub fn find(machine: Machine, big_endian: bool) -> Option<&'static dyn Arch> {
    let mut all = ARCHITECTURES.iter().copied();
    all.find(|arch| arch.machine() == machine && arch.big_endian() == big_endian)
}

/// Returns the architecture of an ELF file.
pub fn of(file: &[u8]) -> Option<&'static dyn Arch> {
    let header = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    find(header.e_machine(endian), endian == Endianness::Big)
}

/// Returns the names of the architectures.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|arch| arch.name())
}

/// What a relocation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocation {
    /// Nothing: it marks a place.
    None,
    /// A field that holds a whole address, or a part of it.
    Address(Field),
    /// A field that holds the distance to the target.
    Relative(Field),
    /// A field that holds the distance to a slot in which the linker puts the target's address. The
    /// addend is the linker's own.
    Slot(Field),
    /// The operand of a call or jump.
    Branch(Field),
}

impl Relocation {
    /// Returns the bytes that it writes.
    pub fn field(self) -> Option<Field> {
        match self {
            Self::None => None,
            Self::Address(field)
            | Self::Relative(field)
            | Self::Slot(field)
            | Self::Branch(field) => Some(field),
        }
    }
}

/// The bytes that a relocation writes, counted from its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Number of bytes.
    pub size: u8,
    /// The bits that are written, as a number in the object's byte order.
    pub bits: u64,
}

impl Field {
    /// A field of whole bytes.
    pub const fn bytes(size: u8) -> Self {
        let bits = match size {
            8 => u64::MAX,
            size => (1 << (size as u32 * 8)) - 1,
        };
        Self { size, bits }
    }

    /// Returns the bits that are written in the byte at `at`, which is in the field.
    pub fn byte(self, at: u64, big_endian: bool) -> u8 {
        let shift = match big_endian {
            true => u64::from(self.size).saturating_sub(at + 1) * 8,
            false => at * 8,
        };
        (self.bits >> shift.min(63)) as u8
    }
}

/// Where an instruction continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next instruction.
    Next,
    /// At a target, counted from the start of the instruction, and perhaps with the next one.
    Jump(i64),
    /// In a function, whose target is counted from the start of the instruction.
    Call(i64),
    /// Somewhere that the instruction does not say.
    Indirect,
}

/// What the engine wants to know of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Its length in bytes.
    pub size: usize,
    /// Where execution continues.
    pub flow: Flow,
    /// The argument of a function call, counted from 0, whose register it writes.
    pub argument: Option<u8>,
    /// Whether it does nothing but load an immediate into that register.
    pub immediate: bool,
}

/// The backend of one architecture.
pub trait Arch: Sync + Debug {
    /// The name that the project uses.
    fn name(&self) -> &'static str;

    /// The ELF machine number.
    fn machine(&self) -> Machine;

    /// Whether its kernels are big-endian.
    fn big_endian(&self) -> bool {
        false
    }

    /// Returns what a type of relocation changes, or nothing for an unknown one.
    fn relocation(&self, kind: RelocationType) -> Option<Relocation>;

    /// Returns the bytes that a type of relocation writes, or nothing if it writes none or is
    /// unknown.
    fn field(&self, kind: RelocationType) -> Option<Field> {
        self.relocation(kind)?.field()
    }

    /// Returns how many bytes a type of relocation writes.
    fn width(&self, kind: RelocationType) -> u64 {
        self.field(kind).map_or(0, |field| u64::from(field.size))
    }

    /// Whether the linker makes a slot for the symbol of a relocation of this type.
    fn is_slot(&self, kind: RelocationType) -> bool {
        matches!(self.relocation(kind), Some(Relocation::Slot(_)))
    }

    /// Returns the relocation that makes the branch at `code[at..]` leave its section, as a type
    /// and the offset of its field from the instruction. Short branches have none.
    fn branch(&self, code: &[u8], at: usize) -> Option<(RelocationType, u64)>;

    /// Returns the distance from `symbol + addend` to what the instruction with this relocation
    /// refers to, for a relocation at `offset` in an instruction that starts at `start` and ends at
    /// `end`.
    fn distance(&self, kind: RelocationType, start: u64, offset: u64, end: u64) -> i64 {
        let _ = (kind, start, offset, end);
        0
    }

    /// Decodes the instruction at `code[at..]`.
    fn decode(&self, code: &[u8], at: usize) -> Option<Instruction>;

    /// Whether a symbol only marks a change between code and data.
    fn is_mapping_symbol(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Whether the kernel's tracer takes patch sites from this list. Compilers may list padding too.
    fn lists_sites(&self, _section: &str) -> bool {
        true
    }

    /// Returns the offset of what the tracer patches in a function, where the object lists `listed`.
    fn site(&self, function: &Block<'_>, listed: u64) -> u64 {
        let _ = function;
        listed
    }

    /// Whether a function has code at its entry that the tracer can take over, besides what the
    /// sections that list such places say.
    fn has_patch_site(&self, function: &Block<'_>) -> bool;

    /// Whether a section name belongs to the table of indirect operands, whose slots are compared
    /// by what they hold.
    fn is_operand_table(&self, section: &str) -> bool {
        let _ = section;
        false
    }

    /// Special sections that only this architecture has, and those whose entries are laid out in
    /// its own way.
    fn special(&self) -> &'static [Special];

    /// Whether the module loader itself gives a symbol its value, so that nothing exports it.
    fn is_of_loader(&self, symbol: &str) -> bool {
        let _ = symbol;
        false
    }

    /// Returns why a function that would be in the module can't be there, with what to do.
    /// `leaves` says whether a reference leaves the module.
    fn objection(
        &self,
        function: &Block<'_>,
        leaves: &dyn Fn(&Reference<'_>) -> bool,
    ) -> Option<(String, &'static str)> {
        let _ = (function, leaves);
        None
    }

    /// Whether the object's flags are those of an ABI that the engine knows.
    fn knows_flags(&self, flags: u32) -> bool {
        let _ = flags;
        true
    }

    /// The relocation type of a whole 64-bit address.
    fn address64(&self) -> RelocationType;
}
