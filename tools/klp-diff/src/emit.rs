// SPDX-License-Identifier: GPL-2.0
//! Writes a plan as an ELF object.

use crate::arch::Arch;
use crate::error::{Error, Input};
use crate::plan::Plan;
use object::build::elf::{Builder, Relocation, SectionData};
use object::elf;
use object::Endianness;

/// Writes a plan. The same plan gives the same bytes.
pub fn emit(plan: &Plan, arch: &dyn Arch, flags: u32) -> Result<Vec<u8>, Error> {
    let endian = match arch.big_endian() {
        true => Endianness::Big,
        false => Endianness::Little,
    };
    let mut builder = Builder::new(endian, true);
    builder.header.e_type = elf::ET_REL;
    builder.header.e_machine = arch.machine();
    builder.header.e_flags = elf::FileFlags(flags);

    let mut sections = Vec::new();
    for planned in &plan.sections {
        let section = builder.sections.add();
        section.name = planned.name.as_bytes().into();
        section.sh_type = planned.kind;
        section.sh_flags = planned.flags;
        section.sh_addralign = planned.align;
        section.sh_entsize = planned.entry_size;
        section.data = match planned.kind {
            elf::SHT_NOBITS => SectionData::UninitializedData(planned.size),
            _ => SectionData::Data(planned.bytes.as_slice().into()),
        };
        sections.push(section.id());
    }
    let table = add(
        &mut builder,
        ".symtab",
        elf::SHT_SYMTAB,
        SectionData::Symbol,
    );
    add(
        &mut builder,
        ".strtab",
        elf::SHT_STRTAB,
        SectionData::String,
    );
    add(
        &mut builder,
        ".shstrtab",
        elf::SHT_STRTAB,
        SectionData::SectionString,
    );
    add(
        &mut builder,
        ".note.GNU-stack",
        elf::SHT_PROGBITS,
        SectionData::Data(Vec::new().into()),
    );

    let mut symbols = vec![None; plan.symbols.len()];
    // Local symbols come first.
    for local in [true, false] {
        let mut files = plan.files.iter().peekable();
        for (at, (planned, id)) in plan.symbols.iter().zip(&mut symbols).enumerate() {
            while let Some((_, name)) = files.next_if(|(from, _)| local && *from <= at) {
                let file = builder.symbols.add();
                file.name = name.as_bytes().into();
                file.set_st_info(elf::STB_LOCAL, elf::STT_FILE);
                file.st_shndx = elf::SHN_ABS;
            }
            if (planned.bind == elf::STB_LOCAL) != local {
                continue;
            }
            let symbol = builder.symbols.add();
            symbol.name = planned.name.as_bytes().into();
            symbol.section = planned
                .section
                .and_then(|index| sections.get(index).copied());
            symbol.set_st_info(planned.bind, planned.kind);
            symbol.st_other = elf::SymbolOther(planned.other);
            symbol.st_value = planned.value;
            symbol.st_size = planned.size;
            *id = Some(symbol.id());
        }
    }
    for (planned, &target) in plan.sections.iter().zip(&sections) {
        if planned.relocations.is_empty() {
            continue;
        }
        let relocation = |planned: &crate::plan::PlanRelocation| Relocation {
            r_offset: planned.offset,
            symbol: planned
                .symbol
                .and_then(|index| symbols.get(index).copied().flatten()),
            r_type: planned.kind,
            r_addend: planned.addend,
        };
        let relocations = planned.relocations.iter().map(relocation).collect();
        let section = builder.sections.add();
        section.name = format!(".rela{}", planned.name).into_bytes().into();
        section.sh_type = elf::SHT_RELA;
        section.sh_flags = elf::SHF_INFO_LINK;
        section.sh_link_section = Some(table);
        section.sh_info_section = Some(target);
        section.sh_addralign = 8;
        section.sh_entsize = 24;
        section.data = SectionData::Relocation(relocations);
    }
    finished(builder, Input::Patched)
}

/// Writes what a builder holds.
pub fn finished(mut builder: Builder<'_>, input: Input) -> Result<Vec<u8>, Error> {
    builder.set_section_sizes();
    let mut bytes = Vec::new();
    let failed = |error: object::build::Error| Error::Malformed {
        input,
        what: error.to_string(),
    };
    builder.write(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn add<'a>(
    builder: &mut Builder<'a>,
    name: &'static str,
    kind: elf::SectionType,
    data: SectionData<'a>,
) -> object::build::elf::SectionId {
    let section = builder.sections.add();
    section.name = name.as_bytes().into();
    section.sh_type = kind;
    section.sh_addralign = if kind == elf::SHT_SYMTAB { 8 } else { 1 };
    section.data = data;
    section.id()
}
