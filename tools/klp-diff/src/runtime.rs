// SPDX-License-Identifier: GPL-2.0
//! Runtime constants, which a module can't have.
//!
//! The kernel writes the values of some variables into instructions, once at boot: sections
//! `runtime_ptr_<variable>` list where. Nobody would do that in a module. There the instruction has to
//! load the variable instead, as modules do it that are compiled as such. Both have the same size.

use crate::emit;
use crate::error::{Error, Input};
use object::build::elf::{Builder, Relocation, SectionData, SectionId, SymbolId};
use object::build::ByteString;
use object::elf;
use std::borrow::Cow;

/// Whether a section lists runtime constants of any kind.
pub fn is_list(section: &str) -> bool {
    let kinds = ["runtime_ptr_", "runtime_shift_", "runtime_mask_"];
    kinds.iter().any(|kind| section.starts_with(kind))
}

/// How the name of such a section begins.
const SECTION: &[u8] = b"runtime_ptr_";
/// What the compiled instruction has in the place of the value.
const PLACEHOLDER: [u8; 8] = 0x0123_4567_89ab_cdef_u64.to_le_bytes();
/// Bytes of the instruction before the value.
const OPCODE: usize = 2;
/// Where the distance of the variable is in the instruction that loads it.
const DISTANCE: usize = 3;

/// Returns an object without runtime constants that are pointers, if it is one for x86_64. Others
/// stay as they are, so that a function which has one is refused.
pub fn plain(input: Input, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    // Most objects have none.
    let has = bytes.windows(SECTION.len()).any(|part| part == SECTION);
    if !has {
        return Ok(Cow::Borrowed(bytes));
    }
    let malformed = |what: String| Error::Malformed { input, what };
    let mut builder = Builder::read64(bytes).map_err(|error| malformed(error.to_string()))?;
    if builder.header.e_machine != elf::EM_X86_64 {
        return Ok(Cow::Borrowed(bytes));
    }
    for (variable, list) in lists(&builder) {
        let variable = symbol(&mut builder, &variable);
        let section = builder.sections.get_mut(list);
        let relocations = match &mut section.data {
            SectionData::Relocation(relocations) => std::mem::take(relocations),
            _ => continue,
        };
        let table = section.sh_info_section;
        section.delete = true;
        for relocation in relocations {
            let found = place(&builder, &relocation);
            let found = found.filter(|&(section, at)| load(&mut builder, section, at, variable));
            if found.is_none() {
                return Err(malformed("a runtime constant of another form".into()));
            }
        }
        if let Some(table) = table {
            builder.sections.get_mut(table).delete = true;
        }
    }
    let unused: Vec<_> = builder
        .symbols
        .iter()
        .filter(|symbol| {
            let section = symbol.section.map(|id| builder.sections.get(id));
            section.is_some_and(|section| section.delete)
        })
        .map(|symbol| symbol.id())
        .collect();
    for id in unused {
        builder.symbols.get_mut(id).delete = true;
    }
    emit::finished(builder, input).map(Cow::Owned)
}

/// Returns the variables, with the relocations of the sections that list their places.
fn lists(builder: &Builder<'_>) -> Vec<(Vec<u8>, SectionId)> {
    let lists = builder.sections.iter().filter_map(|section| {
        let target = builder.sections.get(section.sh_info_section?);
        let variable = target.name.strip_prefix(SECTION)?;
        let is_list = matches!(section.data, SectionData::Relocation(_));
        is_list.then(|| (variable.to_vec(), section.id()))
    });
    lists.collect()
}

/// Returns the symbol of a variable.
fn symbol(builder: &mut Builder<'_>, name: &[u8]) -> SymbolId {
    let is = |symbol: &&object::build::elf::Symbol<'_>| {
        symbol.name.as_slice() == name && symbol.st_type() != elf::STT_SECTION
    };
    if let Some(symbol) = builder.symbols.iter().find(is) {
        return symbol.id();
    }
    let symbol = builder.symbols.add();
    symbol.name = ByteString::from(name.to_vec());
    symbol.set_st_info(elf::STB_GLOBAL, elf::STT_NOTYPE);
    symbol.id()
}

/// Returns the section and the offset that an entry refers to.
fn place(builder: &Builder<'_>, relocation: &Relocation) -> Option<(SectionId, usize)> {
    let symbol = builder.symbols.get(relocation.symbol?);
    let at = (symbol.st_value as i64).checked_add(relocation.r_addend)?;
    Some((symbol.section?, usize::try_from(at).ok()?))
}

/// Makes the instruction whose value is at `at` load the variable. Returns whether it has the form
/// that it should have.
fn load(builder: &mut Builder<'_>, section: SectionId, at: usize, variable: SymbolId) -> bool {
    let Some(start) = at.checked_sub(OPCODE) else {
        return false;
    };
    let code = builder.sections.get_mut(section);
    let SectionData::Data(bytes) = &mut code.data else {
        return false;
    };
    let end = at.saturating_add(PLACEHOLDER.len());
    let Some([rex, opcode, value @ ..]) = bytes.to_mut().get_mut(start..end) else {
        return false;
    };
    // `movabs $value, %register`
    if *rex & 0xfe != 0x48 || *opcode & 0xf8 != 0xb8 || value != PLACEHOLDER {
        return false;
    }
    // `mov variable(%rip), %register`, and a nop of three bytes
    let register = *opcode & 7;
    *rex = 0x48 | (*rex & 1) << 2;
    *opcode = 0x8b;
    value.copy_from_slice(&[register << 3 | 5, 0, 0, 0, 0, 0x0f, 0x1f, 0]);
    let relocation = Relocation {
        r_offset: (start + DISTANCE) as u64,
        symbol: Some(variable),
        r_type: elf::R_X86_64_PC32,
        r_addend: -4,
    };
    let is_list = |list: &&mut object::build::elf::Section<'_>| {
        list.sh_info_section == Some(section) && matches!(list.data, SectionData::Relocation(_))
    };
    match builder
        .sections
        .iter_mut()
        .find(is_list)
        .map(|list| &mut list.data)
    {
        Some(SectionData::Relocation(relocations)) => {
            let behind = |other: &Relocation| other.r_offset > relocation.r_offset;
            let index = relocations
                .iter()
                .position(behind)
                .unwrap_or(relocations.len());
            relocations.insert(index, relocation);
            true
        }
        // Every function that the tracer can patch has relocations.
        _ => false,
    }
}
