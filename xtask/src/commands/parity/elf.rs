// SPDX-License-Identifier: GPL-2.0
//! Makes modules that no compiler makes: with good and bad livepatch relocations, and one named
//! vmlinux.
//!
//! A live patch marks a relocation section with a special flag and name. It marks the symbols in
//! that section with a special section index and special names.

use crate::guest::klp;
use anyhow::{bail, Context as _, Result};
use object::elf::{SHN_UNDEF, STB_GLOBAL, STT_NOTYPE};

/// The relocation section of the built module, and the symbol that its relocation is against.
const SECTION: &[u8] = b".rela.parity";
const SYMBOL: &[u8] = b"parity_elsewhere";

/// A module made from `parity_rela.ko`.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The file, without `.ko`.
    pub file: &'static str,
    /// The name of its relocation section.
    pub section: &'static str,
    /// Whether the section is marked as a live patch's.
    pub section_marked: bool,
    /// The name of the symbol. `{n}` in it stands for n times the letter x.
    pub symbol: &'static str,
    /// Whether the symbol is marked as a live patch's.
    pub symbol_marked: bool,
}

const VMLINUX: &str = ".klp.rela.vmlinux..parity";
const TARGET: &str = ".klp.rela.parity_target..parity";
const BANNER: &str = ".klp.sym.vmlinux.linux_banner,0";
const SECRET: &str = ".klp.sym.parity_target.parity_secret,0";

const fn variant(file: &'static str, section: &'static str, symbol: &'static str) -> Variant {
    Variant {
        file,
        section,
        section_marked: true,
        symbol,
        symbol_marked: true,
    }
}

/// Every variant that a scenario loads.
pub static VARIANTS: &[Variant] = &[
    variant("rela_vmlinux", VMLINUX, BANNER),
    variant(
        "rela_vmlinux_first",
        VMLINUX,
        ".klp.sym.vmlinux.linux_banner,1",
    ),
    variant("rela_target", TARGET, SECRET),
    variant(
        "rela_target_first",
        TARGET,
        ".klp.sym.parity_target.parity_secret,1",
    ),
    variant("rela_no_object", ".klp.rela..parity", BANNER),
    variant("rela_no_section", ".klp.rela.vmlinux", BANNER),
    variant(
        "rela_long_object",
        ".klp.rela.a_module_with_a_name_longer_than_any_module_can_have_in_the_kernel..parity",
        BANNER,
    ),
    Variant {
        section_marked: false,
        ..variant("rela_section_unmarked", VMLINUX, BANNER)
    },
    Variant {
        symbol_marked: false,
        ..variant("rela_symbol_unmarked", VMLINUX, BANNER)
    },
    variant("rela_no_prefix", VMLINUX, "linux_banner"),
    variant("rela_no_position", VMLINUX, ".klp.sym.vmlinux.linux_banner"),
    variant("rela_no_number", VMLINUX, ".klp.sym.vmlinux.linux_banner,x"),
    variant("rela_no_name", VMLINUX, ".klp.sym.vmlinux.,0"),
    variant("rela_no_symbol_object", VMLINUX, ".klp.sym..linux_banner,0"),
    variant("rela_no_dot", VMLINUX, ".klp.sym.vmlinux,0"),
    // A symbol name of the maximum length, a longer one, and an object name longer than any
    // module's.
    variant("rela_longest", VMLINUX, ".klp.sym.vmlinux.{511},0"),
    variant("rela_too_long", VMLINUX, ".klp.sym.vmlinux.{512},0"),
    variant(
        "rela_long_symbol_object",
        VMLINUX,
        ".klp.sym.{64}.linux_banner,0",
    ),
    variant("rela_unknown", VMLINUX, ".klp.sym.vmlinux.no_such_symbol,0"),
    variant("rela_beyond", VMLINUX, ".klp.sym.vmlinux.linux_banner,9"),
    variant("rela_vmlinux_of_target", VMLINUX, SECRET),
    variant("rela_target_of_vmlinux", TARGET, BANNER),
    variant(
        "rela_target_of_other",
        TARGET,
        ".klp.sym.parity_other.parity_secret,0",
    ),
    variant(
        "rela_target_unknown",
        TARGET,
        ".klp.sym.parity_target.no_such_symbol,0",
    ),
    variant(
        "rela_target_beyond",
        TARGET,
        ".klp.sym.parity_target.parity_secret,2",
    ),
];

impl Variant {
    /// Makes the module from the one that the compiler built.
    pub fn make(&self, built: &[u8]) -> Result<Vec<u8>> {
        let mut module = klp::read(built)?;
        let mut sections = module.sections.iter_mut();
        let section = sections.find(|section| section.name.as_slice() == SECTION);
        let section = section.context("the module lacks the section")?;
        section.name = self.section.as_bytes().into();
        if self.section_marked {
            klp::mark_section(section);
        }
        let mut symbols = module.symbols.iter_mut();
        let symbol = symbols.find(|symbol| symbol.name.as_slice() == SYMBOL);
        let symbol = symbol.context("the module lacks the symbol")?;
        symbol.name = expand(self.symbol)?.into_bytes().into();
        if self.symbol_marked {
            klp::mark_symbol(symbol);
        } else {
            symbol.st_shndx = SHN_UNDEF;
            symbol.st_info = STB_GLOBAL | STT_NOTYPE;
        }
        klp::write(module)
    }
}

/// Expands the `{n}` in a name.
fn expand(name: &str) -> Result<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return Ok(name.to_owned());
    };
    let (count, after) = rest.split_once('}').context("a brace is missing")?;
    Ok(format!("{before}{}{after}", "x".repeat(count.parse()?)))
}

/// Returns the module with another name, which must not be longer than the old one.
pub fn rename_module(built: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    if to.len() > from.len() {
        bail!("a module can only be given a shorter name");
    }
    let mut data = built.to_vec();
    let old = [from.as_bytes(), b"\0"].concat();
    let mut new = to.as_bytes().to_vec();
    new.resize(old.len(), 0);
    let mut renamed = 0;
    for start in 0..data.len().saturating_sub(old.len()) {
        if data[start..start + old.len()] == old[..] {
            data[start..start + old.len()].copy_from_slice(&new);
            renamed += 1;
        }
    }
    if renamed == 0 {
        bail!("the module does not say that its name is {from}");
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_renamed_wherever_it_says_its_name() {
        let built = b"name=parity_none\0x\0parity_none\0\0parity_none_too\0";
        let renamed = rename_module(built, "parity_none", "vmlinux").unwrap();
        assert_eq!(
            renamed,
            b"name=vmlinux\0\0\0\0\0x\0vmlinux\0\0\0\0\0\0parity_none_too\0"
        );
        assert!(rename_module(b"", "parity_none", "vmlinux").is_err());
        assert!(rename_module(built, "parity_none", "parity_none_longer").is_err());
    }

    #[test]
    fn long_names_are_written_out() {
        assert_eq!(expand(".a.{3},0").unwrap(), ".a.xxx,0");
        assert_eq!(expand("plain").unwrap(), "plain");
        assert!(expand("{").is_err());
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(VARIANTS[0].make(b"no module").is_err());
    }

    #[test]
    fn files_have_names_of_their_own() {
        let mut files: Vec<&str> = VARIANTS.iter().map(|variant| variant.file).collect();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), VARIANTS.len());
    }
}
