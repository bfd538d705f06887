// SPDX-License-Identifier: GPL-2.0

//! Klp relocations in the ELF sections of a livepatch module.
//!
//! C headers: [`include/linux/moduleloader.h`](srctree/include/linux/moduleloader.h),
//! `struct klp_modinfo` in [`include/linux/module.h`](srctree/include/linux/module.h).

use crate::livepatch_core::{
    relocation::{
        self,
        Action,
        Section, //
    },
    symbol::Name, //
};
use crate::Linux;
use core::{
    ffi::CStr,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The ELF information of a livepatch module, from the module loader or as the module keeps it.
///
/// # Invariants
///
/// The pointers are valid. `index` and `symbols` are indices of sections, whose headers have their
/// addresses in memory.
#[derive(Clone, Copy)]
pub(crate) struct ElfSection {
    /// The livepatch module.
    pub(crate) module: *mut bindings::module,
    /// Section headers.
    pub(crate) headers: *mut bindings::Elf64_Shdr,
    /// Names of the sections.
    pub(crate) section_names: *const c_char,
    /// Names of the symbols.
    pub(crate) symbol_names: *const c_char,
    /// Index of the symbol table.
    pub(crate) symbols: c_uint,
    /// Index of the section of relocations.
    pub(crate) index: c_uint,
}

impl ElfSection {
    /// The header of the section.
    fn header(&self) -> &bindings::Elf64_Shdr {
        // SAFETY: By the type invariants, the headers are valid, and `index` is a section's.
        unsafe { &*self.headers.wrapping_add(self.index as usize) }
    }

    /// The header of the symbol table.
    fn table(&self) -> &bindings::Elf64_Shdr {
        // SAFETY: By the type invariants, the headers are valid, and `symbols` is a section's.
        unsafe { &*self.headers.wrapping_add(self.symbols as usize) }
    }

    /// The symbol of the `index`-th relocation.
    fn elf_symbol(&self, index: usize) -> Option<NonNull<bindings::Elf64_Sym>> {
        if index >= self.count() {
            return None;
        }
        let relocations = self.header().sh_addr as *const bindings::Elf64_Rela;
        // SAFETY: By the type invariants, the address is that of the relocations. `index` is below
        // their number.
        let number = unsafe { (*relocations.wrapping_add(index)).r_info } >> 32;
        let table = self.table();
        if number >= table.sh_size / size_of::<bindings::Elf64_Sym>() as u64 {
            return None;
        }
        let symbols = table.sh_addr as *mut bindings::Elf64_Sym;
        NonNull::new(symbols.wrapping_add(number as usize))
    }
}

impl Section for ElfSection {
    fn name(&self) -> &[u8] {
        let offset = self.header().sh_name as usize;
        // SAFETY: By the type invariants, the names of sections are valid. Each is a C string.
        unsafe { CStr::from_char_ptr(self.section_names.wrapping_add(offset)) }.to_bytes()
    }

    fn symbol_table(&self) -> u32 {
        self.symbols
    }

    fn count(&self) -> usize {
        self.header().sh_size as usize / size_of::<bindings::Elf64_Rela>()
    }

    fn symbol(&self, index: usize) -> Option<(&[u8], bool)> {
        // SAFETY: The symbol is in the module's symbol table.
        let symbol = unsafe { self.elf_symbol(index)?.as_ref() };
        let name = self.symbol_names.wrapping_add(symbol.st_name as usize);
        // SAFETY: By the type invariants, the names of symbols are valid. Each is a C string.
        let name = unsafe { CStr::from_char_ptr(name) };
        let marked = u32::from(symbol.st_shndx) == bindings::SHN_LIVEPATCH;
        Some((name.to_bytes(), marked))
    }

    fn set_address(&mut self, index: usize, address: usize) {
        if let Some(symbol) = self.elf_symbol(index) {
            // SAFETY: The symbol is in the module's symbol table, which nothing else uses now.
            unsafe { (*symbol.as_ptr()).st_value = address as u64 };
        }
    }

    fn apply(&mut self) -> Result {
        // SAFETY: By the type invariants, the pointers are valid and the indices are of sections.
        to_result(unsafe {
            bindings::apply_relocate_add(
                self.headers,
                self.symbol_names,
                self.symbols,
                self.index,
                self.module,
            )
        })
    }

    fn clear(&mut self) {
        // SAFETY: By the type invariants, the pointers are valid and the indices are of sections.
        unsafe {
            bindings::clear_relocate_add(
                self.headers,
                self.symbol_names,
                self.symbols,
                self.index,
                self.module,
            );
        }
    }
}

/// Applies the relocations of one section while the livepatch module loads.
///
/// It does so only for relocations of the module `object`, or of the kernel if `object` is `None`.
pub(crate) fn of_section(section: &mut ElfSection, object: Option<&[u8]>) -> Result {
    relocation::write(&Linux, section, object, Action::Apply)
}

/// Applies or clears all relocations of a patch for the module `object`. If one section fails,
/// those that were applied before it are cleared.
///
/// # Safety
///
/// The patch and its module are valid.
pub(crate) unsafe fn of_object(
    patch: *mut bindings::klp_patch,
    object: &Name,
    apply: bool,
) -> Result {
    // SAFETY: The patch is valid.
    let module = unsafe { (*patch).mod_ };
    // SAFETY: The patch's module is valid.
    let info = unsafe { (*module).klp_info };
    // SAFETY: A livepatch module keeps its ELF information.
    let info = unsafe { &*info };
    let section = ElfSection {
        module,
        headers: info.sechdrs,
        section_names: info.secstrings,
        // SAFETY: The patch's module is valid.
        symbol_names: unsafe { (*module).core_kallsyms.strtab },
        symbols: info.symndx,
        index: 0,
    };
    let count = c_uint::from(info.hdr.e_shnum);
    // The sections of klp relocations whose index is at least 1 and below `end`.
    let sections = |end: c_uint| {
        (1..end)
            // INVARIANT: The index is below the number of sections. The module keeps the rest.
            .map(move |index| ElfSection { index, ..section })
            .filter(|section| {
                section.header().sh_flags & u64::from(bindings::SHF_RELA_LIVEPATCH) != 0
            })
    };
    let clear = |end: c_uint| {
        sections(end).try_for_each(|mut section| {
            relocation::write(&Linux, &mut section, Some(object.as_bytes()), Action::Clear)
        })
    };
    if !apply {
        return clear(count);
    }
    for mut section in sections(count) {
        let result =
            relocation::write(&Linux, &mut section, Some(object.as_bytes()), Action::Apply);
        if let Err(error) = result {
            // Clearing the sections before this one can't fail: their names were well-formed.
            let _ = clear(section.index);
            return Err(error);
        }
    }
    Ok(())
}
