// SPDX-License-Identifier: GPL-2.0

//! Symbols: from a name, and where it is ambiguous a position, to an address.
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

/// Length that a symbol's name must stay below, its NUL included (`KSYM_NAME_LEN`).
pub const KSYM_NAME_LEN: usize = 512;

/// A name owned by the core: of a patch, an object or a function.
///
/// # Invariants
///
/// The last byte is NUL, and no other one is.
pub struct Name(KVec<u8>);

impl Name {
    /// Copies `bytes`, which come without a NUL.
    ///
    /// Errors: `ENOMEM`; `EINVAL` where `bytes` contain a NUL.
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

    /// The name without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, name)| name)
    }

    /// The name with its NUL, as C functions want it.
    pub fn as_bytes_with_nul(&self) -> &[u8] {
        &self.0
    }

    /// A second copy. Errors: `ENOMEM`.
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

/// Bytes printed as C's `%s` prints them, as far as they are UTF-8.
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

/// The name of an object as messages show it; `None` is the kernel itself.
pub fn object_text(object: Option<&Name>) -> Text<'_> {
    Text(object.map_or(VMLINUX, Name::as_bytes))
}

/// What the core asks of the kernel's symbol table.
pub trait Symbols {
    /// Calls `found` with the address of each symbol `name` of the kernel itself, in the order of the
    /// symbol table, until it breaks. That is a quick search.
    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>);

    /// Calls `found` with the name and the address of each symbol of the module `object`, in the order
    /// of the symbol table, until it breaks.
    fn each_symbol(&self, object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>);

    /// The size in bytes of the symbol that covers `address`, `None` where there is none.
    fn size_at(&self, address: usize) -> Option<usize>;
}

/// How many symbols of a name were found, and the address of the last one.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    address: usize,
    count: usize,
}

impl Tally {
    /// Counts a symbol. Breaks where it has seen enough.
    fn add(&mut self, position: usize, address: usize) -> ControlFlow<()> {
        // One match more than a unique symbol has settles it, as does the one asked for.
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

    /// The address of `name` in `object`, at this `position`.
    ///
    /// Errors: `EINVAL`, with the reason in the log.
    pub fn settle(&self, object: Option<&Name>, name: &Name, position: usize) -> Result<usize> {
        if self.address == 0 {
            pr_err!("symbol '{}' not found in symbol table\n", name);
        } else if position == 0 && self.count > 1 {
            // The C core hands a null object name to `%s` here, which prints "(null)". ABI is what is
            // in the log.
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
/// `position` is the field's `sympos`: 0 asks for a symbol that must be unique in the object, n for
/// its n-th occurrence. Errors: `EINVAL`, with the reason in the log.
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
    tally.settle(object, name, position)
}

/// Looks up many symbols of a module, each with its `position`, in one pass over its symbol table.
///
/// The tallies are in the order of `wanted`, to be settled one after the other. Errors: `ENOMEM`.
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

/// The least size of a page. A module's code begins and ends with a page.
const PAGE: usize = 4096;

/// Whether kallsyms takes `name` for that of a symbol. Some assemblers mark where code and data begin.
fn is_symbol(name: &[u8]) -> bool {
    let marks: [&[u8]; 3] = [b"$", b".L", b"L0"];
    !name.is_empty() && !marks.iter().any(|mark| name.starts_with(mark))
}

/// A symbol whose size is wanted.
struct Extent {
    start: usize,
    /// Where the next symbol starts.
    end: usize,
    /// Whether there is a symbol at `start`.
    found: bool,
}

/// The sizes of many symbols of a module, from one pass over its symbol table.
///
/// kallsyms goes through all of a module's symbols for each address that it is asked about.
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
        symbols.each_symbol(object, &mut |name, address| {
            if is_symbol(name) {
                sizes.add(address);
            }
            ControlFlow::Continue(())
        });
        Ok(sizes)
    }

    /// Of those that are at `start` or before, the last.
    fn last(&self, start: usize) -> Option<&Extent> {
        let after = self.0.partition_point(|own| own.start <= start);
        self.0.get(..after)?.last()
    }

    /// Takes note of a symbol at `address`.
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

    /// The size in bytes of the symbol at `address`, `None` where there is none.
    ///
    /// It ends where the next one starts, or the memory that it is in. That may only be where a page
    /// ends: then, and about what is not here, kallsyms is asked.
    pub fn at<S: Symbols + ?Sized>(&self, symbols: &S, address: usize) -> Option<usize> {
        match self.last(address) {
            Some(own) if own.start == address && own.found && own.end / PAGE == address / PAGE => {
                own.end.checked_sub(address)
            }
            _ => symbols.size_at(address),
        }
    }
}
