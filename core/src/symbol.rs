// SPDX-License-Identifier: GPL-2.0

//! Symbols: from a name, and where it is ambiguous a position, to an address.
//!
//! C counterpart: `klp_find_object_symbol()` in `kernel/livepatch/core.c`.

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
    /// Calls `found` with the address of each symbol `name` of `object`, in the order of the symbol
    /// table, until it breaks. `None` is the kernel itself.
    fn each_match(
        &self,
        object: Option<&Name>,
        name: &Name,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    );

    /// The size in bytes of the symbol that covers `address`, `None` where there is none.
    fn size_at(&self, address: usize) -> Option<usize>;
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
    let mut address = 0;
    let mut count: usize = 0;
    symbols.each_match(object, name, &mut |found| {
        address = found;
        count = count.saturating_add(1);
        // One match more than a unique symbol has settles it, as does the one asked for.
        let enough = if position == 0 { 2 } else { position };
        if count == enough {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });

    if address == 0 {
        pr_err!("symbol '{}' not found in symbol table\n", name);
    } else if position == 0 && count > 1 {
        // The C core hands a null object name to `%s` here, which prints "(null)". ABI is what is
        // in the log.
        match object {
            Some(object) => pr_err!(
                "unresolvable ambiguity for symbol '{}' in object '{}'\n",
                name,
                object
            ),
            None => pr_err!(
                "unresolvable ambiguity for symbol '{}' in object '{}'\n",
                name,
                "(null)"
            ),
        }
    } else if position > 0 && count != position {
        pr_err!(
            "symbol position {} for symbol '{}' in object '{}' not found\n",
            position,
            name,
            object_text(object)
        );
    } else {
        return Ok(address);
    }
    Err(EINVAL)
}
