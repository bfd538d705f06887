// SPDX-License-Identifier: GPL-2.0
//! What tells a live patch's relocations from ordinary ones, in a module of any architecture.
//!
//! Tools like kpatch-build write these; here a built module is read, changed in memory and written again.

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, Section, Symbol};
use object::elf::{SectionFlags, SymbolSection, SHF_ALLOC, STB_GLOBAL, STT_NOTYPE};

/// `SHF_RELA_LIVEPATCH` of the kernel's `include/uapi/linux/elf.h`.
pub const SHF_RELA_LIVEPATCH: SectionFlags = SectionFlags(0x0010_0000);

/// `SHN_LIVEPATCH`, from there too.
pub const SHN_LIVEPATCH: SymbolSection = SymbolSection(0xff20);

/// A module that the compiler built.
pub fn read(built: &[u8]) -> Result<Builder<'_>> {
    Builder::read(built).context("this is no module")
}

/// The file it makes.
pub fn write(module: Builder<'_>) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    module.write(&mut data).context("cannot write the module")?;
    Ok(data)
}

/// Leaves the relocations of a section to the core.
pub fn mark_section(section: &mut Section<'_>) {
    // A module keeps only what is allocated; relocations of objects to come are among that.
    section.sh_flags |= SHF_RELA_LIVEPATCH | SHF_ALLOC;
}

/// Leaves a symbol to the core.
pub fn mark_symbol(symbol: &mut Symbol<'_>) {
    symbol.st_shndx = SHN_LIVEPATCH;
    symbol.st_info = STB_GLOBAL | STT_NOTYPE;
}
