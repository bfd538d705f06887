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
    for (planned, &id) in plan.sections.iter().zip(&sections) {
        let by = planned.ordered_by.and_then(|index| sections.get(index));
        builder.sections.get_mut(id).sh_link_section = by.copied();
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

/// The largest alignment of a section in bytes. It is more than a page of any kernel.
const MOST_ALIGNED: u64 = 1 << 20;

/// Writes what a builder holds.
pub fn finished(mut builder: Builder<'_>, input: Input) -> Result<Vec<u8>, Error> {
    for section in &mut builder.sections {
        // In a file, 0 means 1. The library reckons with the number as it is.
        section.sh_addralign = section.sh_addralign.max(1);
        let align = section.sh_addralign;
        if !align.is_power_of_two() || align > MOST_ALIGNED {
            let name = section.name.to_string();
            let what = format!("section {name} is aligned to {align:#x} bytes");
            return Err(Error::Malformed { input, what });
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;
    use crate::plan::Shape;
    use object::elf::FileHeader64;
    use object::read::elf::{FileHeader, SectionHeader};

    #[test]
    fn a_section_that_is_ordered_by_another_one_names_it() {
        let arch = arch::find(elf::EM_AARCH64, false).unwrap();
        let mut plan = Plan::default();
        let text = Shape::data(elf::SHF_EXECINSTR, 8);
        let lists = Shape::data(elf::SHF_WRITE, 8);
        let texts = [".text.f", ".text.g"].map(|name| plan.section(name, text));
        let own = texts.map(|by| plan.ordered_section("list", lists, by));
        assert_eq!(own[0], plan.ordered_section("list", lists, texts[0]));
        assert_ne!(own[0], own[1]);
        for index in texts.into_iter().chain(own) {
            plan.append(index, &[0; 8], 8, 8, 0);
        }
        let bytes = emit(&plan, arch, 0).unwrap();
        let header = FileHeader64::<Endianness>::parse(&*bytes).unwrap();
        let endian = header.endian().unwrap();
        let sections = header.sections(endian, &*bytes).unwrap();
        let name = |section| sections.section_name(endian, section).unwrap();
        let lists = sections.iter().filter(|section| name(section) == b"list");
        let by: Vec<_> = lists
            .map(|section| {
                assert_ne!(section.sh_flags(endian).0 & elf::SHF_LINK_ORDER.0, 0);
                name(
                    sections
                        .iter()
                        .nth(section.sh_link(endian) as usize)
                        .unwrap(),
                )
            })
            .collect();
        assert_eq!(by, [b".text.f", b".text.g"]);
    }

    #[test]
    fn an_alignment_is_one_that_a_kernel_can_give() {
        let aligned = |align| {
            let mut builder = Builder::new(Endianness::Little, true);
            add(
                &mut builder,
                ".shstrtab",
                elf::SHT_STRTAB,
                SectionData::SectionString,
            );
            let section = builder.sections.add();
            section.name = b".text"[..].into();
            section.sh_type = elf::SHT_PROGBITS;
            section.sh_addralign = align;
            section.data = SectionData::Data(b"code"[..].into());
            finished(builder, Input::Module)
        };
        for align in [0, 1, 16, MOST_ALIGNED] {
            let bytes = aligned(align).unwrap();
            let file = object::File::parse(&*bytes).unwrap();
            let text = object::Object::section_by_name(&file, ".text").unwrap();
            assert_eq!(
                object::ObjectSection::data(&text).unwrap(),
                b"code",
                "{align}"
            );
        }
        for align in [3, 2 * MOST_ALIGNED, u64::MAX] {
            let error = aligned(align).unwrap_err().to_string();
            assert!(error.contains("section .text is aligned to"), "{error}");
        }
    }
}
