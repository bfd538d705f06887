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
use core::ffi::CStr;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The ELF information of a livepatch module, from the module loader or as the module keeps it.
///
/// # Invariants
///
/// The pointers are valid, and `index` and `symbols` are indices of sections.
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
    fn header(&self) -> *mut bindings::Elf64_Shdr {
        self.headers.wrapping_add(self.index as usize)
    }

    /// The symbol of the `index`-th relocation, or null if there is none.
    fn elf_symbol(&self, index: usize) -> *mut bindings::Elf64_Sym {
        if index >= self.count() {
            return core::ptr::null_mut();
        }
        // SAFETY: The headers are valid, and `self.index` and `self.symbols` are indices of
        // sections. The loader has set the addresses of both sections. The relocation is in its
        // section, since `index` is below `count()`. The symbol is in its section, since `number`
        // is below `count`.
        unsafe {
            let relocations = (*self.header()).sh_addr as *const bindings::Elf64_Rela;
            let number = (*relocations.add(index)).r_info >> 32;
            let table = self.headers.add(self.symbols as usize);
            let count = (*table).sh_size / size_of::<bindings::Elf64_Sym>() as u64;
            if number >= count {
                return core::ptr::null_mut();
            }
            ((*table).sh_addr as *mut bindings::Elf64_Sym).add(number as usize)
        }
    }
}

impl Section for ElfSection {
    fn name(&self) -> &[u8] {
        // SAFETY: The header and the names of the sections are valid, and those names are C
        // strings.
        unsafe {
            let offset = (*self.header()).sh_name as usize;
            CStr::from_char_ptr(self.section_names.add(offset)).to_bytes()
        }
    }

    fn symbol_table(&self) -> u32 {
        self.symbols
    }

    fn count(&self) -> usize {
        // SAFETY: The headers are valid, and `index` is the index of a section.
        let size = unsafe { (*self.header()).sh_size };
        size as usize / size_of::<bindings::Elf64_Rela>()
    }

    fn symbol(&self, index: usize) -> Option<(&[u8], bool)> {
        // SAFETY: The symbol is in the module's symbol table. Names of symbols are C strings.
        unsafe {
            let symbol = self.elf_symbol(index).as_ref()?;
            let name = CStr::from_char_ptr(self.symbol_names.add(symbol.st_name as usize));
            let marked = u32::from(symbol.st_shndx) == bindings::SHN_LIVEPATCH;
            Some((name.to_bytes(), marked))
        }
    }

    fn set_address(&mut self, index: usize, address: usize) {
        // SAFETY: The symbol is in the module's symbol table, which nothing else uses now.
        if let Some(symbol) = unsafe { self.elf_symbol(index).as_mut() } {
            symbol.st_value = address as u64;
        }
    }

    fn apply(&mut self) -> Result {
        // SAFETY: The pointers are valid, and `symbols` and `index` are indices of sections.
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
        // SAFETY: The pointers are valid, and `symbols` and `index` are indices of sections.
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
    // SAFETY: The patch and its module are valid, and a livepatch module keeps its ELF information.
    let (count, section) = unsafe {
        let module = (*patch).mod_;
        let info = (*module).klp_info;
        let section = ElfSection {
            module,
            headers: (*info).sechdrs,
            section_names: (*info).secstrings,
            symbol_names: (*module).core_kallsyms.strtab,
            symbols: (*info).symndx,
            index: 0,
        };
        (c_uint::from((*info).hdr.e_shnum), section)
    };
    // The sections of klp relocations whose index is at least 1 and below `end`.
    let sections = |end: c_uint| {
        (1..end)
            .map(move |index| ElfSection { index, ..section })
            .filter(|section| {
                // SAFETY: The headers are valid, and the index is below the number of sections.
                let flags = unsafe { (*section.header()).sh_flags };
                flags & u64::from(bindings::SHF_RELA_LIVEPATCH) != 0
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
