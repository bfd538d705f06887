// SPDX-License-Identifier: GPL-2.0

//! Symbols: lookup of an address by name, and by position if the name is ambiguous.
//!
//! C counterpart: `klp_find_object_symbol()` in `kernel/livepatch/core.c`.

use super::sort::sort_by_key;
use core::ops::ControlFlow;
use kernel::{
    fmt,
    prelude::*, //
};

/// The name that stands for the kernel itself where an object's name is expected.
pub const VMLINUX: &[u8] = b"vmlinux";

/// Maximum length of a symbol's name, including its NUL (`KSYM_NAME_LEN`).
pub const KSYM_NAME_LEN: usize = 512;

/// The name of a patch, an object or a function, owned by the core.
///
/// # Invariants
///
/// The last byte is NUL, and no other byte is.
pub struct Name(KVec<u8>);

impl Name {
    /// Copies `bytes`, which come without a NUL.
    ///
    /// Errors: `ENOMEM`; `EINVAL` if `bytes` contain a NUL.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.contains(&0) {
            return Err(EINVAL);
        }
        let mut copy = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;
        copy.extend_from_slice(bytes, GFP_KERNEL)?;
        copy.push(0, GFP_KERNEL)?;
        // INVARIANT: `bytes` contain no NUL, and one was appended.
        Ok(Self(copy))
    }

    /// Returns the name without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, name)| name)
    }

    /// Returns the name with its NUL, for C functions.
    pub fn as_bytes_with_nul(&self) -> &[u8] {
        &self.0
    }

    /// Copies the name. Errors: `ENOMEM`.
    pub fn duplicate(&self) -> Result<Self> {
        Self::new(self.as_bytes())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Text(self.as_bytes()), f)
    }
}

/// Bytes that print as C's `%s` prints them. Each invalid UTF-8 sequence prints as a `?`.
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("?")?;
            }
        }
        Ok(())
    }
}

/// Returns the name of an object for messages. `None` is the kernel itself.
pub fn object_text(object: Option<&Name>) -> Text<'_> {
    Text(object.map_or(VMLINUX, Name::as_bytes))
}

/// What the core asks of the kernel's symbol table.
pub trait Symbols {
    /// Size of a page in bytes. A module's code begins and ends at page boundaries.
    const PAGE_SIZE: usize;

    /// Calls `found` with the address of each symbol `name` of the kernel itself, in the order of
    /// the symbol table, until `found` breaks. This search is quick.
    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>);

    /// Calls `found` with the address of each symbol `name` of the module `object`, in the order of
    /// the symbol table, until `found` breaks.
    fn each_match_in(
        &self,
        object: &Name,
        name: &Name,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        self.each_symbol(object, &mut |own, address| {
            if own == name.as_bytes() {
                found(address)
            } else {
                ControlFlow::Continue(())
            }
        });
    }

    /// Calls `found` with the name and the address of each symbol of the module `object`, in the
    /// order of the symbol table, until `found` breaks. Leaves out the names that kallsyms ignores:
    /// some assemblers mark with them where code and data begin.
    fn each_symbol(&self, object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>);

    /// Returns the size in bytes of the symbol that covers `address`. `None` if there is none.
    fn size_at(&self, address: usize) -> Option<usize>;
}

/// The number of symbols found under a name, and the address of the last one.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    address: usize,
    count: usize,
}

impl Tally {
    /// Counts a symbol. Breaks once further symbols can't change the result.
    fn add(&mut self, position: usize, address: usize) -> ControlFlow<()> {
        // A second match settles that a symbol is not unique. The match at `position` settles the
        // rest.
        let enough = if position == 0 { 2 } else { position };
        if self.count < enough {
            self.address = address;
            self.count = self.count.saturating_add(1);
        }
        if self.count < enough {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Returns the address of `name` in `object`, at this `position`.
    ///
    /// Errors: `EINVAL`, with the reason in the log.
    pub fn address(&self, object: Option<&Name>, name: &Name, position: usize) -> Result<usize> {
        if self.address == 0 {
            pr_err!("symbol '{}' not found in symbol table\n", name);
        } else if position == 0 && self.count > 1 {
            // The C core passes a null object name to `%s` here, which prints "(null)". The log is
            // ABI, so the text stays.
            let object = Text(object.map_or(b"(null)", Name::as_bytes));
            pr_err!(
                "unresolvable ambiguity for symbol '{}' in object '{}'\n",
                name,
                object
            );
        } else if position > 0 && self.count != position {
            pr_err!(
                "symbol position {} for symbol '{}' in object '{}' not found\n",
                position,
                name,
                object_text(object)
            );
        } else {
            return Ok(self.address);
        }
        Err(EINVAL)
    }
}

/// Looks up the address of `name` in `object`.
///
/// `position` is the sympos: 0 asks for a symbol that must be unique in the object, n for its n-th
/// occurrence. Errors: `EINVAL`, with the reason in the log.
pub fn find<S: Symbols + ?Sized>(
    symbols: &S,
    object: Option<&Name>,
    name: &Name,
    position: usize,
) -> Result<usize> {
    let mut tally = Tally::default();
    let mut found = |address| tally.add(position, address);
    match object {
        None => symbols.each_match(name, &mut found),
        Some(object) => symbols.each_match_in(object, name, &mut found),
    }
    tally.address(object, name, position)
}

/// Looks up many symbols of a module, each with its `position`, in one pass over its symbol table.
///
/// Returns the tallies in the order of `wanted`. The caller asks each of them for the address.
/// Errors: `ENOMEM`.
pub fn find_all<'a, S: Symbols + ?Sized>(
    symbols: &S,
    object: &Name,
    wanted: impl Iterator<Item = (&'a Name, usize)>,
) -> Result<KVec<Tally>> {
    let mut tallies = KVec::new();
    let mut index: KVec<(&Name, usize, usize)> = KVec::new();
    for (order, (name, position)) in wanted.enumerate() {
        tallies.push(Tally::default(), GFP_KERNEL)?;
        index.push((name, order, position), GFP_KERNEL)?;
    }
    // A single one needs no search for each symbol.
    if let ([(name, _, position)], [tally]) = (&*index, &mut *tallies) {
        symbols.each_match_in(object, name, &mut |address| tally.add(*position, address));
        return Ok(tallies);
    }
    sort_by_key(&mut index, |own| (own.0.as_bytes(), own.1));
    symbols.each_symbol(object, &mut |name, address| {
        let first = index.partition_point(|own| own.0.as_bytes() < name);
        let own = index.iter().skip(first);
        let own = own.take_while(|own| own.0.as_bytes() == name);
        for &(_, order, position) in own {
            if let Some(tally) = tallies.get_mut(order) {
                let _ = tally.add(position, address);
            }
        }
        ControlFlow::Continue(())
    });
    Ok(tallies)
}

/// A symbol whose size is wanted.
struct Extent {
    start: usize,
    /// Where the next symbol starts.
    end: usize,
    /// Whether there is a symbol at `start`.
    found: bool,
}

impl Extent {
    fn is_on_one_page<S: Symbols + ?Sized>(&self) -> bool {
        self.end / S::PAGE_SIZE == self.start / S::PAGE_SIZE
    }
}

/// The sizes of many symbols of a module, from one pass over its symbol table.
///
/// kallsyms itself would go through all symbols of the module for each address.
pub struct Sizes(KVec<Extent>);

impl Sizes {
    /// Looks for the symbols at `addresses` in the module `object`. Errors: `ENOMEM`.
    pub fn of<S: Symbols + ?Sized>(
        symbols: &S,
        object: &Name,
        addresses: impl Iterator<Item = usize>,
    ) -> Result<Self> {
        let mut extents = KVec::new();
        for start in addresses {
            let extent = Extent {
                start,
                end: usize::MAX,
                found: false,
            };
            extents.push(extent, GFP_KERNEL)?;
        }
        sort_by_key(&mut extents, |own| own.start);
        let mut sizes = Self(extents);
        // For a single address, the search by kallsyms costs less.
        if sizes.0.len() == 1 {
            return Ok(sizes);
        }
        symbols.each_symbol(object, &mut |_, address| {
            sizes.add(address);
            ControlFlow::Continue(())
        });
        Ok(sizes)
    }

    /// Returns the last extent that is at `start` or before it.
    fn last(&self, start: usize) -> Option<&Extent> {
        let after = self.0.partition_point(|own| own.start <= start);
        self.0.get(..after)?.last()
    }

    /// Records a symbol at `address`.
    fn add(&mut self, address: usize) {
        let here = self.0.partition_point(|own| own.start < address);
        let (before, here) = self.0.split_at_mut_checked(here).unwrap_or_default();
        if let Some(before) = before.last_mut() {
            before.end = before.end.min(address);
        }
        for own in here.iter_mut().take_while(|own| own.start == address) {
            own.found = true;
        }
    }

    /// Returns the size in bytes of the symbol at `address`. `None` if there is none.
    ///
    /// A symbol ends where the next one starts, or where its memory ends, at a page boundary. If
    /// the next symbol is not on the page of `address`, or the symbol is not in this table, the
    /// size comes from kallsyms.
    pub fn at<S: Symbols + ?Sized>(&self, symbols: &S, address: usize) -> Option<usize> {
        match self.last(address) {
            Some(own) if own.start == address && own.found && own.is_on_one_page::<S>() => {
                own.end.checked_sub(address)
            }
            _ => symbols.size_at(address),
        }
    }
}

#[cfg(test)]
#[kunit_tests(livepatch_symbol)]
mod tests {
    use super::*;
    use core::{
        cell::Cell,
        fmt::Write, //
    };

    /// A symbol table.
    struct Table<'a> {
        symbols: &'a [(&'a [u8], usize)],
        /// The size of each symbol, as kallsyms would find it, and how often it was asked.
        size: usize,
        asked: Cell<usize>,
    }

    impl<'a> Table<'a> {
        fn new(symbols: &'a [(&'a [u8], usize)]) -> Self {
            Self {
                symbols,
                size: 77,
                asked: Cell::new(0),
            }
        }
    }

    impl Symbols for Table<'_> {
        const PAGE_SIZE: usize = 4096;

        fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
            let own = |&&(own, _): &&(&[u8], usize)| own == name.as_bytes();
            for &(_, address) in self.symbols.iter().filter(own) {
                if found(address).is_break() {
                    return;
                }
            }
        }

        fn each_symbol(
            &self,
            _object: &Name,
            found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>,
        ) {
            for &(own, address) in self.symbols {
                if found(own, address).is_break() {
                    return;
                }
            }
        }

        fn size_at(&self, _address: usize) -> Option<usize> {
            self.asked.set(self.asked.get() + 1);
            Some(self.size)
        }
    }

    const SYMBOLS: &[(&[u8], usize)] = &[
        (b"a", 10),
        (b"b", 20),
        (b"ab", 30),
        (b"b", 21),
        (b"", 40),
        (b"b", 22),
    ];

    /// Name, sympos and what is found.
    const LOOKUPS: [(&[u8], usize, Option<usize>); 9] = [
        (b"a", 0, Some(10)),
        (b"a", 1, Some(10)),
        (b"a", 2, None),
        (b"b", 0, None),
        (b"b", 1, Some(20)),
        (b"b", 2, Some(21)),
        (b"b", 3, Some(22)),
        (b"b", 4, None),
        (b"c", 0, None),
    ];

    #[test]
    fn found_by_name_and_position() -> Result {
        let table = Table::new(SYMBOLS);
        let object = Name::new(b"object")?;
        for (name, position, expected) in LOOKUPS {
            let name = Name::new(name)?;
            for object in [None, Some(&object)] {
                assert_eq!(find(&table, object, &name, position).ok(), expected);
            }
        }
        Ok(())
    }

    #[test]
    fn found_together() -> Result {
        let table = Table::new(SYMBOLS);
        let object = Name::new(b"object")?;
        let mut names = KVec::new();
        for (name, position, _) in LOOKUPS {
            names.push((Name::new(name)?, position), GFP_KERNEL)?;
        }
        let wanted = names.iter().map(|(name, position)| (name, *position));
        let tallies = find_all(&table, &object, wanted)?;
        assert_eq!(tallies.len(), LOOKUPS.len());
        for ((tally, (name, position)), (_, _, expected)) in tallies.iter().zip(&names).zip(LOOKUPS)
        {
            let found = tally.address(Some(&object), name, *position).ok();
            assert_eq!(found, expected);
        }
        Ok(())
    }

    #[test]
    fn kallsyms_is_asked_only_about_ends_of_pages() -> Result {
        let mut symbols: KVec<(&[u8], usize)> = KVec::new();
        for number in 0..1000 {
            symbols.push((b"function", 4096 + 16 * number), GFP_KERNEL)?;
        }
        let table = Table::new(&symbols);
        let addresses = symbols.iter().map(|&(_, address)| address);
        let sizes = Sizes::of(&table, &Name::new(b"object")?, addresses.clone())?;
        for address in addresses {
            let next_page = (address + 16) % 4096 == 0;
            let last = address == 4096 + 16 * 999;
            let expected = if next_page || last { table.size } else { 16 };
            assert_eq!(sizes.at(&table, address), Some(expected));
        }
        assert_eq!(table.asked.get(), 4);
        Ok(())
    }

    #[test]
    fn the_size_of_a_single_one_comes_from_kallsyms() -> Result {
        let table = Table::new(&[(b"a", 0x1000), (b"b", 0x1010)]);
        let sizes = Sizes::of(&table, &Name::new(b"object")?, [0x1000].into_iter())?;
        assert_eq!(sizes.at(&table, 0x1000), Some(table.size));
        assert_eq!(table.asked.get(), 1);
        Ok(())
    }

    #[test]
    fn a_single_one_is_found_as_with_others() -> Result {
        let table = Table::new(SYMBOLS);
        let object = Name::new(b"object")?;
        for (name, position, expected) in LOOKUPS {
            let name = Name::new(name)?;
            let tallies = find_all(&table, &object, [(&name, position)].into_iter())?;
            let mut found = tallies
                .iter()
                .map(|own| own.address(Some(&object), &name, position));
            assert_eq!(found.next().and_then(Result::ok), expected);
            assert!(found.next().is_none());
        }
        Ok(())
    }

    #[test]
    fn sizes_of_other_addresses_come_from_kallsyms() -> Result {
        let table = Table::new(&[(b"a", 0x1000), (b"alias", 0x1000), (b"b", 0x1010)]);
        // There is no symbol at the last of these.
        let addresses = [0x1000, 0x1000, 0x1018];
        let sizes = Sizes::of(&table, &Name::new(b"object")?, addresses.into_iter())?;
        assert_eq!(sizes.at(&table, 0x1000), Some(0x10));
        assert_eq!(table.asked.get(), 0);
        for address in [0xfff, 0x1010, 0x1018] {
            assert_eq!(sizes.at(&table, address), Some(table.size));
        }
        assert_eq!(table.asked.get(), 3);
        Ok(())
    }

    #[test]
    fn names_are_copied_whole() -> Result {
        let name = Name::new(b"name")?;
        assert_eq!(name.as_bytes(), b"name");
        assert_eq!(name.as_bytes_with_nul(), b"name\0");
        assert!(name.duplicate()? == name);
        assert!(Name::new(b"")?.as_bytes().is_empty());
        for bytes in [&b"\0"[..], b"name\0", b"na\0me"] {
            assert_eq!(Name::new(bytes).err(), Some(EINVAL));
        }
        Ok(())
    }

    /// The start of a text.
    #[derive(Default)]
    struct Start {
        bytes: [u8; 16],
        length: usize,
    }

    impl Write for Start {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for &byte in text.as_bytes() {
                let free = self.bytes.get_mut(self.length).ok_or(core::fmt::Error)?;
                *free = byte;
                self.length += 1;
            }
            Ok(())
        }
    }

    #[test]
    fn what_is_not_utf8_is_printed_as_question_marks() -> Result {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"name", "name"),
            ("n\u{e4}me".as_bytes(), "n\u{e4}me"),
            (b"n\xe4me\xff\xff", "n?me??"),
        ] {
            for text in [fmt!("{}", Text(bytes)), fmt!("{}", Name::new(bytes)?)] {
                let mut start = Start::default();
                assert!(start.write_fmt(text).is_ok());
                assert_eq!(start.bytes.get(..start.length), Some(expected.as_bytes()));
            }
        }
        Ok(())
    }

    #[test]
    fn the_kernel_is_an_object_too() -> Result {
        assert_eq!(object_text(None).0, b"vmlinux");
        assert_eq!(object_text(Some(&Name::new(b"ext4")?)).0, b"ext4");
        Ok(())
    }
}
