// SPDX-License-Identifier: GPL-2.0

//! Klp relocations: relocations of a livepatch module whose symbols only the livepatch core can
//! resolve.
//!
//! Build tools put them in sections `.klp.rela.<object>.<section>`, whose symbols are called
//! `.klp.sym.<object>.<symbol>,<sympos>`. The relocations for the kernel itself are written while
//! the livepatch module loads. The relocations for a module are written once that module is loaded.
//!
//! C counterpart: `klp_resolve_symbols()` and `klp_write_section_relocs()` in
//! `kernel/livepatch/core.c`. Names are parsed more strictly than with `sscanf()`: nothing may
//! follow the position, and the position may not overflow or begin with a space.

use super::symbol::{
    self,
    Name,
    Symbols,
    Text,
    VMLINUX, //
};
use kernel::prelude::*;

/// Prefix of a section of klp relocations (`KLP_RELOC_SEC_PREFIX`).
pub const SECTION_PREFIX: &[u8] = b".klp.rela.";
/// Prefix of a symbol for klp relocations (`KLP_SYM_PREFIX`).
pub const SYMBOL_PREFIX: &[u8] = b".klp.sym.";
/// Longest name of an object in a section's or a symbol's name, in bytes: the least
/// `MODULE_NAME_LEN` of all architectures, without the NUL.
pub const MAX_OBJECT: usize = 55;
/// Longest name of a symbol, in bytes: `KSYM_NAME_LEN` without the NUL.
pub const MAX_SYMBOL: usize = symbol::KSYM_NAME_LEN - 1;

/// A parsed `.klp.sym.<object>.<name>,<position>`.
#[derive(Debug, PartialEq, Eq)]
pub struct SymbolName<'a> {
    /// The object that defines the symbol, `vmlinux` for the kernel itself.
    pub object: &'a [u8],
    /// The symbol's name in that object.
    pub name: &'a [u8],
    /// The symbol's sympos, see [`symbol::find`].
    pub position: usize,
}

/// Splits `bytes` at the first `separator`, which is dropped. `None` if there is no separator, or
/// if the part before it does not have 1 to `longest` bytes.
fn field(bytes: &[u8], separator: u8, longest: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == separator)?;
    if end == 0 || end > longest {
        return None;
    }
    let (field, rest) = bytes.split_at_checked(end)?;
    Some((field, rest.get(1..)?))
}

/// Parses a decimal number. It must take up all of `bytes` and fit in a `usize`.
fn number(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0usize, |value, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        value
            .checked_mul(10)?
            .checked_add(usize::try_from(digit).ok()?)
    })
}

/// Returns the object of a section of klp relocations. `None` if the section's name is malformed.
///
/// As in the C core, an object's name of more than [`MAX_OBJECT`] bytes is cut.
pub fn parse_section(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(SECTION_PREFIX)?;
    let object = rest.split(|&byte| byte == b'.').next()?;
    let object = object.get(..MAX_OBJECT).unwrap_or(object);
    (!object.is_empty()).then_some(object)
}

/// Parses the name of a symbol for klp relocations. `None` if the name is malformed.
pub fn parse_symbol(name: &[u8]) -> Option<SymbolName<'_>> {
    let rest = name.strip_prefix(SYMBOL_PREFIX)?;
    let (object, rest) = field(rest, b'.', MAX_OBJECT)?;
    let (name, rest) = field(rest, b',', MAX_SYMBOL)?;
    Some(SymbolName {
        object,
        name,
        position: number(rest)?,
    })
}

/// One section of klp relocations in a loaded livepatch module.
pub trait Section {
    /// Returns the section's name, without a NUL.
    fn name(&self) -> &[u8];
    /// Returns the index of the symbol table's section, for messages.
    fn symbol_table(&self) -> u32;
    /// Returns the number of relocations.
    fn count(&self) -> usize;
    /// Returns the name of the symbol that the `index`-th relocation refers to, and whether it is
    /// marked `SHN_LIVEPATCH`. `None` if there is no such relocation or symbol.
    fn symbol(&self, index: usize) -> Option<(&[u8], bool)>;
    /// Sets the address of the symbol that the `index`-th relocation refers to.
    fn set_address(&mut self, index: usize, address: usize);
    /// Writes the relocations of the section to the module's memory.
    fn apply(&mut self) -> Result;
    /// Clears the relocations of the section in the module's memory.
    fn clear(&mut self);
}

/// What to do with a section's relocations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Resolve the symbols and write the relocations.
    Apply,
    /// Clear the relocations.
    Clear,
}

/// Applies or clears the relocations of `section` if they are for `object`. `None` is the kernel
/// itself.
///
/// Errors: `EINVAL` with the reason in the log, `ENOMEM`, or the error of the architecture's
/// relocation code.
pub fn write<S: Symbols + ?Sized>(
    symbols: &S,
    section: &mut dyn Section,
    object: Option<&[u8]>,
    action: Action,
) -> Result {
    let Some(owner) = parse_section(section.name()) else {
        pr_err!(
            "section {} has an incorrectly formatted name\n",
            Text(section.name())
        );
        return Err(EINVAL);
    };
    if owner != object.unwrap_or(VMLINUX) {
        return Ok(());
    }
    match action {
        Action::Apply => {
            let of_kernel = owner == VMLINUX;
            resolve(symbols, section, of_kernel)?;
            section.apply()
        }
        Action::Clear => {
            section.clear();
            Ok(())
        }
    }
}

/// Looks up and sets the address of each symbol of the section.
fn resolve<S: Symbols + ?Sized>(symbols: &S, section: &mut dyn Section, of_kernel: bool) -> Result {
    for index in 0..section.count() {
        let address = {
            let Some((text, marked)) = section.symbol(index) else {
                return Err(EINVAL);
            };
            if !marked {
                pr_err!(
                    "symbol {} at rela sec {} idx {} is not marked as a livepatch symbol\n",
                    Text(text),
                    section.symbol_table(),
                    index
                );
                return Err(EINVAL);
            }
            let Some(parsed) = parse_symbol(text) else {
                pr_err!("symbol {} has an incorrectly formatted name\n", Text(text));
                return Err(EINVAL);
            };
            // A module's section may not refer to symbols of the kernel. Such relocations belong in
            // the kernel's section, which is written earlier: before the special sections of the
            // livepatch module are used.
            let in_kernel = parsed.object == VMLINUX;
            if in_kernel && !of_kernel {
                pr_err!(
                    "invalid access to vmlinux symbol '{}' from module-specific livepatch relocation section\n",
                    Text(parsed.name)
                );
                return Err(EINVAL);
            }
            let object = if in_kernel {
                None
            } else {
                Some(Name::new(parsed.object)?)
            };
            let name = Name::new(parsed.name)?;
            symbol::find(symbols, object.as_ref(), &name, parsed.position)?
        };
        section.set_address(index, address);
    }
    Ok(())
}

#[cfg(test)]
#[kunit_tests(livepatch_relocation)]
mod tests {
    use super::*;
    use core::ops::ControlFlow;

    #[test]
    fn names_of_sections() {
        for (name, object) in [
            (&b".klp.rela.vmlinux.text"[..], Some(&b"vmlinux"[..])),
            (b".klp.rela.vmlinux..text", Some(b"vmlinux")),
            (b".klp.rela.vmlinux", Some(b"vmlinux")),
            (b".klp.rela.ext4.", Some(b"ext4")),
            (b".klp.rela..text", None),
            (b".klp.rela.", None),
            (b".klp.rela", None),
            (b".klp.rel.a", None),
            (b".rela.vmlinux.text", None),
            (b"klp.rela.vmlinux.text", None),
            (b"", None),
        ] {
            assert_eq!(parse_section(name), object);
        }
    }

    #[test]
    fn names_of_symbols() {
        for (name, object, symbol, position) in [
            (
                &b".klp.sym.vmlinux.name,0"[..],
                &b"vmlinux"[..],
                &b"name"[..],
                0,
            ),
            (b".klp.sym.ext4.name.isra.0,3", b"ext4", b"name.isra.0", 3),
            (b".klp.sym.o.n,042", b"o", b"n", 42),
            (b".klp.sym.o.n,18446744073709551615", b"o", b"n", usize::MAX),
        ] {
            let expected = SymbolName {
                object,
                name: symbol,
                position,
            };
            assert_eq!(parse_symbol(name), Some(expected));
        }
    }

    #[test]
    fn malformed_names_of_symbols() {
        for name in [
            "",
            ".klp.sym.",
            ".klp.sym.vmlinux",
            ".klp.sym.vmlinux.",
            ".klp.sym.vmlinux.name",
            ".klp.sym.vmlinux.name,",
            ".klp.sym.vmlinux.name,x",
            ".klp.sym.vmlinux.name,-1",
            ".klp.sym.vmlinux.name,+1",
            ".klp.sym.vmlinux.,0",
            ".klp.sym..name,0",
            "klp.sym.vmlinux.name,0",
            ".klp.rela.vmlinux.name,0",
            // The core is stricter than `sscanf()` here.
            ".klp.sym.vmlinux.name, 1",
            ".klp.sym.vmlinux.name,1x",
            ".klp.sym.vmlinux.name,1,2",
            ".klp.sym.vmlinux.name,18446744073709551616",
        ] {
            assert_eq!(parse_symbol(name.as_bytes()), None);
        }
    }

    /// Joins a prefix, as many `x` as asked for, and the rest.
    fn long(prefix: &[u8], count: usize, rest: &[u8]) -> Result<KVec<u8>> {
        let mut name = KVec::new();
        name.extend_from_slice(prefix, GFP_KERNEL)?;
        for _ in 0..count {
            name.push(b'x', GFP_KERNEL)?;
        }
        name.extend_from_slice(rest, GFP_KERNEL)?;
        Ok(name)
    }

    #[test]
    fn long_names() -> Result {
        for (count, fits) in [(54, true), (55, true), (56, false), (57, false)] {
            let symbol = long(SYMBOL_PREFIX, count, b".name,0")?;
            let object = parse_symbol(&symbol).map(|symbol| symbol.object.len());
            assert_eq!(object, fits.then_some(count));
            // The name of a section's object is cut.
            let section = long(SECTION_PREFIX, count, b".text")?;
            let object = parse_section(&section).map(<[u8]>::len);
            assert_eq!(object, Some(count.min(55)));
        }
        for (count, fits) in [(510, true), (511, true), (512, false), (513, false)] {
            let symbol = long(b".klp.sym.vmlinux.", count, b",0")?;
            let name = parse_symbol(&symbol).map(|symbol| symbol.name.len());
            assert_eq!(name, fits.then_some(count));
        }
        Ok(())
    }

    /// A kernel and modules with the same symbols: `a` once and `b` twice.
    struct Table;

    impl Symbols for Table {
        const PAGE_SIZE: usize = 4096;

        fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
            self.each_symbol(name, &mut |own, address| {
                if own == name.as_bytes() {
                    found(address)
                } else {
                    ControlFlow::Continue(())
                }
            });
        }

        fn each_symbol(
            &self,
            _object: &Name,
            found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>,
        ) {
            for (name, address) in [(b"a", 10), (b"b", 20), (b"b", 21)] {
                if found(name, address).is_break() {
                    return;
                }
            }
        }

        fn size_at(&self, _address: usize) -> Option<usize> {
            None
        }
    }

    /// A section with two relocations.
    struct Pair {
        name: &'static str,
        /// The symbols, and whether they are marked `SHN_LIVEPATCH`.
        symbols: [(&'static str, bool); 2],
        addresses: [usize; 2],
        /// Whether the relocations were written last, and not cleared.
        applied: Option<bool>,
    }

    impl Pair {
        fn new(name: &'static str, symbols: [(&'static str, bool); 2]) -> Self {
            Self {
                name,
                symbols,
                addresses: [0; 2],
                applied: None,
            }
        }
    }

    impl Section for Pair {
        fn name(&self) -> &[u8] {
            self.name.as_bytes()
        }
        fn symbol_table(&self) -> u32 {
            9
        }
        fn count(&self) -> usize {
            self.symbols.len()
        }
        fn symbol(&self, index: usize) -> Option<(&[u8], bool)> {
            let &(name, marked) = self.symbols.get(index)?;
            Some((name.as_bytes(), marked))
        }
        fn set_address(&mut self, index: usize, address: usize) {
            if let Some(own) = self.addresses.get_mut(index) {
                *own = address;
            }
        }
        fn apply(&mut self) -> Result {
            self.applied = Some(true);
            Ok(())
        }
        fn clear(&mut self) {
            self.applied = Some(false);
        }
    }

    #[test]
    fn written_and_cleared() -> Result {
        let symbols = [(".klp.sym.vmlinux.a,0", true), (".klp.sym.ext4.b,2", true)];
        let mut section = Pair::new(".klp.rela.vmlinux.text", symbols);
        write(&Table, &mut section, None, Action::Apply)?;
        assert_eq!(section.addresses, [10, 21]);
        assert_eq!(section.applied, Some(true));
        write(&Table, &mut section, None, Action::Clear)?;
        assert_eq!(section.applied, Some(false));
        Ok(())
    }

    #[test]
    fn of_another_object() -> Result {
        for (name, object) in [
            (".klp.rela.vmlinux.text", Some(&b"ext4"[..])),
            (".klp.rela.ext4.text", None),
            (".klp.rela.ext4.text", Some(b"ext")),
        ] {
            let mut section = Pair::new(name, [("nonsense", false); 2]);
            write(&Table, &mut section, object, Action::Apply)?;
            write(&Table, &mut section, object, Action::Clear)?;
            assert_eq!(section.applied, None);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_written_if_a_symbol_is_refused() {
        for symbol in [
            ("printk", false),
            (".klp.sym.ext4.a", true),
            (".klp.sym.vmlinux.a,0", true),
            (".klp.sym.ext4.b,0", true),
            (".klp.sym.ext4.c,0", true),
        ] {
            let symbols = [(".klp.sym.ext4.a,0", true), symbol];
            let mut section = Pair::new(".klp.rela.ext4.text", symbols);
            let result = write(&Table, &mut section, Some(b"ext4"), Action::Apply);
            assert_eq!(result, Err(EINVAL));
            assert_eq!(section.applied, None);
        }
    }
}
