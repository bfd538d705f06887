// SPDX-License-Identifier: GPL-2.0
//! Modules that no compiler makes: livepatch relocations, good and bad, and a module called vmlinux.
//!
//! A live patch marks a relocation section with a flag and a name of its own, and the symbols in it with a
//! section index of their own. Tools like kpatch-build write these; here a built module is copied and
//! a few fields of it are rewritten. New names go to the end of the file, with the rest of their table.

use anyhow::{bail, Context as _, Result};
use object::elf::{FileHeader64, SectionFlags, SectionHeader64, Sym64, SymbolInfo, SymbolSection};
use object::elf::{SHF_ALLOC, SHN_UNDEF, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL, STT_NOTYPE};
use object::read::elf::{FileHeader, SectionHeader};
use object::{pod, Endianness, U16, U32, U64};
use std::mem::size_of;

/// The relocation section of the built module, and the symbol that its relocation is against.
const SECTION: &str = ".rela.parity";
const SYMBOL: &str = "parity_elsewhere";

/// `SHF_RELA_LIVEPATCH` of the kernel's `include/uapi/linux/elf.h`.
const SHF_RELA_LIVEPATCH: SectionFlags = SectionFlags(0x0010_0000);

/// `SHN_LIVEPATCH`, from there too.
const SHN_LIVEPATCH: SymbolSection = SymbolSection(0xff20);

/// A module made of `parity_rela.ko`.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The file, without `.ko`.
    pub file: &'static str,
    /// The name of its relocation section.
    pub section: &'static str,
    /// Whether that is marked as a live patch's.
    pub section_marked: bool,
    /// The name of the symbol; `{n}` in it stands for n times the letter x.
    pub symbol: &'static str,
    /// Whether that is marked.
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
    // As long as a symbol's name can be, and longer; longer than a module's.
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
    /// The module, made of the one that the compiler built.
    pub fn make(&self, built: &[u8]) -> Result<Vec<u8>> {
        let mut module = Module::read(built)?;
        let (section, symbol) = (module.section(SECTION)?, module.symbol(SYMBOL)?);
        module.rename_section(section, self.section)?;
        module.rename_symbol(symbol, &expand(self.symbol)?)?;
        if self.section_marked {
            let header = module.section_mut(section)?;
            let flags = header.sh_flags.get(Endianness::default());
            // A module keeps only what is allocated; relocations of objects to come are among that.
            let flags = SectionFlags(flags.0 | SHF_RELA_LIVEPATCH.0 | SHF_ALLOC.0);
            header.sh_flags = U64::new(Endianness::default(), flags);
        }
        let mark = if self.symbol_marked {
            SHN_LIVEPATCH
        } else {
            SHN_UNDEF
        };
        let entry = module.symbol_mut(symbol)?;
        entry.st_shndx = U16::new(Endianness::default(), mark);
        entry.st_info = SymbolInfo::new(STB_GLOBAL, STT_NOTYPE);
        Ok(module.data)
    }
}

/// A name with its `{n}` written out.
fn expand(name: &str) -> Result<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return Ok(name.to_owned());
    };
    let (count, after) = rest.split_once('}').context("a brace is missing")?;
    Ok(format!("{before}{}{after}", "x".repeat(count.parse()?)))
}

/// A module with another name, no longer than its own.
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

/// A 64-bit module of the host's byte order, in memory.
struct Module {
    data: Vec<u8>,
    sections: usize,
    symbols: usize,
}

type Header = FileHeader64<Endianness>;
type Section = SectionHeader64<Endianness>;
type Symbol = Sym64<Endianness>;

impl Module {
    fn read(built: &[u8]) -> Result<Self> {
        let mut module = Self {
            data: built.to_vec(),
            sections: 0,
            symbols: 0,
        };
        let header = Header::parse(&*module.data).context("this is no 64-bit module")?;
        if header.endian().ok() != Some(Endianness::default()) {
            bail!("modules of another byte order than the host's cannot be rewritten yet");
        }
        module.sections = header.e_shoff.get(Endianness::default()) as usize;
        let table =
            module.find(|header| header.sh_type.get(Endianness::default()) == SHT_SYMTAB)?;
        module.symbols = table;
        Ok(module)
    }

    fn section_mut(&mut self, index: usize) -> Result<&mut Section> {
        at(&mut self.data, self.sections + index * size_of::<Section>())
    }

    fn copy_of(&self, index: usize) -> Result<Section> {
        let offset = self.sections + index * size_of::<Section>();
        let bytes = self.data.get(offset..).unwrap_or_default();
        let (section, _) = pod::from_bytes::<Section>(bytes)
            .map_err(|()| anyhow::anyhow!("no section {index}"))?;
        Ok(*section)
    }

    fn find(&self, wanted: impl Fn(&Section) -> bool) -> Result<usize> {
        let header = Header::parse(&*self.data).context("no header")?;
        let count = usize::from(header.e_shnum.get(Endianness::default()));
        for index in 1..count {
            if wanted(&self.copy_of(index)?) {
                return Ok(index);
            }
        }
        bail!("the module lacks a section")
    }

    fn name_table(&self) -> Result<usize> {
        let header = Header::parse(&*self.data).context("no header")?;
        Ok(usize::from(header.e_shstrndx.get(Endianness::default()).0))
    }

    /// The content of a section of the file.
    fn content(&self, section: &Section) -> Result<&[u8]> {
        let content = section.data(Endianness::default(), &*self.data);
        content.ok().context("a section is not in the file")
    }

    fn section(&self, name: &str) -> Result<usize> {
        let names = self.copy_of(self.name_table()?)?;
        let names = self.content(&names)?;
        self.find(|section| is_at(names, section.sh_name.get(Endianness::default()), name))
            .with_context(|| format!("no section {name}"))
    }

    /// Where a symbol's entry is in the file.
    fn symbol(&self, name: &str) -> Result<usize> {
        let table = self.copy_of(self.symbols)?;
        let strings = self.copy_of(table.sh_link.get(Endianness::default()) as usize)?;
        let strings = self.content(&strings)?;
        let start = table.sh_offset.get(Endianness::default()) as usize;
        let content = self.content(&table)?;
        let count = content.len() / size_of::<Symbol>();
        let (symbols, _) = pod::slice_from_bytes::<Symbol>(content, count)
            .map_err(|()| anyhow::anyhow!("the symbol table is cut off"))?;
        let index = symbols
            .iter()
            .position(|symbol| is_at(strings, symbol.st_name.get(Endianness::default()), name))
            .with_context(|| format!("no symbol {name}"))?;
        Ok(start + index * size_of::<Symbol>())
    }

    fn symbol_mut(&mut self, offset: usize) -> Result<&mut Symbol> {
        at(&mut self.data, offset)
    }

    fn rename_section(&mut self, index: usize, name: &str) -> Result<()> {
        let table = self.name_table()?;
        let name = self.add_string(table, name)?;
        self.section_mut(index)?.sh_name = U32::new(Endianness::default(), name);
        Ok(())
    }

    fn rename_symbol(&mut self, offset: usize, name: &str) -> Result<()> {
        let table = self
            .copy_of(self.symbols)?
            .sh_link
            .get(Endianness::default()) as usize;
        let name = self.add_string(table, name)?;
        self.symbol_mut(offset)?.st_name = U32::new(Endianness::default(), name);
        Ok(())
    }

    /// Moves a string table to the end of the file, with another string; gives that one's place in it.
    fn add_string(&mut self, table: usize, string: &str) -> Result<u32> {
        let section = self.copy_of(table)?;
        if section.sh_type.get(Endianness::default()) != SHT_STRTAB {
            bail!("section {table} has no strings");
        }
        let mut strings = self.content(&section)?.to_vec();
        let place = u32::try_from(strings.len())?;
        strings.extend_from_slice(string.as_bytes());
        strings.push(0);
        let offset = self.data.len() as u64;
        let size = strings.len() as u64;
        self.data.extend_from_slice(&strings);
        let section = self.section_mut(table)?;
        section.sh_offset = U64::new(Endianness::default(), offset);
        section.sh_size = U64::new(Endianness::default(), size);
        // What follows in the file, if anything does, may want to be aligned.
        self.data.resize(self.data.len().next_multiple_of(16), 0);
        Ok(place)
    }
}

fn at<T: pod::Pod>(data: &mut [u8], offset: usize) -> Result<&mut T> {
    let bytes = data.get_mut(offset..).unwrap_or_default();
    match pod::from_bytes_mut::<T>(bytes) {
        Ok((value, _)) => Ok(value),
        Err(()) => bail!("the module is cut off"),
    }
}

fn is_at(strings: &[u8], place: u32, name: &str) -> bool {
    let tail = strings.get(place as usize..).unwrap_or_default();
    tail.strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&0))
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
