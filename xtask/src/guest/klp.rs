// SPDX-License-Identifier: GPL-2.0
//! Marks livepatch relocations in a module of any architecture.
//!
//! Tools like kpatch-build write the same marks. Here a built module is read, changed in memory and
//! written again.

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, Section, Symbol};
use object::elf::{SectionFlags, SymbolSection, SHF_ALLOC, STB_GLOBAL, STT_NOTYPE};

/// `SHF_RELA_LIVEPATCH` of the kernel's `include/uapi/linux/elf.h`.
pub const SHF_RELA_LIVEPATCH: SectionFlags = SectionFlags(0x0010_0000);

/// `SHN_LIVEPATCH` of the kernel's `include/uapi/linux/elf.h`.
pub const SHN_LIVEPATCH: SymbolSection = SymbolSection(0xff20);

/// Reads a module that the compiler built.
pub fn read(built: &[u8]) -> Result<Builder<'_>> {
    Builder::read(built).context("this is no module")
}

/// Returns the module as the content of a file.
pub fn write(module: Builder<'_>) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    module.write(&mut data).context("cannot write the module")?;
    Ok(data)
}

/// Marks a section, which leaves its relocations to the core.
pub fn mark_section(section: &mut Section<'_>) {
    // A loaded module keeps only allocated sections. It must keep the relocations for objects that
    // are loaded later.
    section.sh_flags |= SHF_RELA_LIVEPATCH | SHF_ALLOC;
}

/// Marks a symbol, which leaves it to the core.
pub fn mark_symbol(symbol: &mut Symbol<'_>) {
    symbol.st_shndx = SHN_LIVEPATCH;
    symbol.st_info = STB_GLOBAL | STT_NOTYPE;
}
