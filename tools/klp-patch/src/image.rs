// SPDX-License-Identifier: GPL-2.0
//! What a patch needs of a linked kernel or module: its symbols and its notes. Debug information, which
//! may take most of a gibibyte, is not read.

use anyhow::{Context as _, Result};
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, ReadCache};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Returns the content of the file, with zeros in place of sections that no patch needs. Pages of
/// zeros take no memory before they are touched.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    parts(path).with_context(|| {
        format!(
            "cannot read {}; next: build the kernel and its modules",
            path.display()
        )
    })
}

fn parts(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len())?;
    let cache = ReadCache::new(&file);
    let header = FileHeader64::<Endianness>::parse(&cache)?;
    let endian = header.endian()?;
    let sections = header.section_headers(endian, &cache)?;
    let mut ranges = vec![
        (0, u64::try_from(size_of_val(header))?),
        (
            header.e_shoff(endian),
            u64::try_from(size_of_val(sections))?,
        ),
    ];
    for section in sections {
        let wanted = matches!(
            section.sh_type(endian),
            elf::SHT_SYMTAB | elf::SHT_SYMTAB_SHNDX | elf::SHT_STRTAB | elf::SHT_NOTE
        );
        ranges.extend(section.file_range(endian).filter(|_| wanted));
    }
    let mut bytes = vec![0; size];
    for (start, length) in ranges {
        let start_index = usize::try_from(start)?;
        let end = start_index.saturating_add(usize::try_from(length)?);
        let part = bytes
            .get_mut(start_index..end)
            .context("a section ends behind the file")?;
        file.read_exact_at(part, start)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Object as _, ObjectSection, ObjectSymbol, SectionKind,
        SymbolFlags, SymbolKind, SymbolScope,
    };

    #[test]
    fn symbols_are_read_and_debug_information_is_not() {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let debug = object.add_section(Vec::new(), b".debug_info".to_vec(), SectionKind::Debug);
        object.append_section_data(debug, &[7; 64], 1);
        object.add_symbol(Symbol {
            name: b"one".to_vec(),
            value: 16,
            size: 4,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(debug),
            flags: SymbolFlags::None,
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinux");
        std::fs::write(&path, object.write().unwrap()).unwrap();
        let bytes = read(&path).unwrap();
        let image = object::File::parse(&*bytes).unwrap();
        let symbol = image.symbol_by_name("one").unwrap();
        assert_eq!((symbol.address(), symbol.size()), (16, 4));
        let debug = image.section_by_name(".debug_info").unwrap();
        assert_eq!(debug.data().unwrap(), [0; 64]);
        std::fs::write(&path, "none").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("next: build"), "{error}");
    }
}
