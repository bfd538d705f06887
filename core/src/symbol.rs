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
    match object {
        None => symbols.each_match(name, &mut |address| tally.add(position, address)),
        Some(object) => symbols.each_symbol(object, &mut |own, address| {
            if own == name.as_bytes() {
                tally.add(position, address)
            } else {
                ControlFlow::Continue(())
            }
        }),
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
    let mut index: KVec<(&[u8], usize, usize)> = KVec::new();
    for (order, (name, position)) in wanted.enumerate() {
        tallies.push(Tally::default(), GFP_KERNEL)?;
        index.push((name.as_bytes(), order, position), GFP_KERNEL)?;
    }
    sort_by_key(&mut index, |own| (own.0, own.1));
    symbols.each_symbol(object, &mut |name, address| {
        let first = index.partition_point(|own| own.0 < name);
        let own = index.iter().skip(first).take_while(|own| own.0 == name);
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
