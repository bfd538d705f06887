// SPDX-License-Identifier: GPL-2.0
//! Special sections: tables whose entries describe places in functions.
//!
//! An entry belongs to the function that its first reference points to. It is in the module where
//! that function is, and a change of it is a change of that function.

use crate::arch::Arch;
use crate::graph::{BlockId, Object, Target};
use crate::section::Role;
use std::collections::BTreeSet;

/// A special section.
#[derive(Debug, PartialEq, Eq)]
pub struct Special {
    /// The section's name.
    pub name: &'static str,
    /// What its entries are.
    pub entries: Entries,
    /// What is special about an entry's fields.
    pub fields: Fields,
}

/// How a special section is cut into entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Entries of one of these sizes, which differ between kernels: the smallest that fits. The
    /// first reference of each entry is to code, at this offset.
    Sized(&'static [u64], u64),
    /// From each place that something refers to, to the next one: pieces of code.
    Pieces,
    /// As many entries as another section has of the size given.
    Beside(&'static str, u64),
}

/// What is special about an entry's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// Nothing.
    Plain,
    /// A number of a source line follows the reference to the file's name.
    Line,
    /// The second reference is to a replacement, and means nothing where that has no bytes. For each
    /// size of an entry, the offset of the replacement's size.
    Replacement(&'static [(u64, u64)]),
    /// Distances count from the start of the entry, not from the field.
    FromStart,
    /// One reference is to the key of a jump label or static call.
    Key {
        /// Which reference it is.
        index: usize,
    },
    /// Made by a tool that derives it from the code.
    Derived,
}

const fn table(name: &'static str, sizes: &'static [u64], fields: Fields) -> Special {
    Special {
        name,
        entries: Entries::Sized(sizes, 0),
        fields,
    }
}

/// Pieces of code that tables refer to. A name that ends in `*` is the start of several.
pub const fn pieces(name: &'static str) -> Special {
    Special {
        name,
        entries: Entries::Pieces,
        fields: Fields::Plain,
    }
}

/// A table of alternatives: where the code is, its replacement, and the sizes of both. `lengths` has
/// the offset of the replacement's size for each size of an entry.
pub const fn alternatives(sizes: &'static [u64], lengths: &'static [(u64, u64)]) -> Special {
    table(".altinstructions", sizes, Fields::Replacement(lengths))
}

/// A table that names places, four bytes each.
pub const fn places(name: &'static str) -> Special {
    table(name, &[4], Fields::Plain)
}

/// A table of entries of a fixed size. The first reference of each is at the offset `first`.
pub const fn sized(name: &'static str, sizes: &'static [u64], first: u64) -> Special {
    Special {
        name,
        entries: Entries::Sized(sizes, first),
        fields: Fields::Plain,
    }
}

/// A table whose distances count from the start of the entry. The first reference of each is at the
/// offset `first`.
pub const fn from_start(name: &'static str, sizes: &'static [u64], first: u64) -> Special {
    Special {
        name,
        entries: Entries::Sized(sizes, first),
        fields: Fields::FromStart,
    }
}

/// A table that a tool derives from the code.
pub const fn derived(name: &'static str, entries: Entries) -> Special {
    Special {
        name,
        entries,
        fields: Fields::Derived,
    }
}

/// A table whose entries have a key.
pub const fn keyed(name: &'static str, sizes: &'static [u64], index: usize) -> Special {
    table(name, sizes, Fields::Key { index })
}

/// The special sections of every architecture.
static COMMON: &[Special] = &[
    table("__bug_table", &[6, 8, 12, 16, 24, 32], Fields::Line),
    sized("__ex_table", &[8, 12, 16, 24], 0),
    keyed("__jump_table", &[16, 24], 2),
    pieces(".fixup"),
    pieces(".altinstr_replacement"),
    pieces(".altinstr_aux"),
    places(".kcfi_traps"),
];

/// Returns what is special about a section of this name.
pub fn find(arch: &dyn Arch, name: &str) -> Option<&'static Special> {
    let mut all = arch.special().iter().chain(COMMON);
    let is = |special: &Special| match special.name.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => special.name == name,
    };
    all.find(|special| is(special))
}

/// Whether the kernel rewrites the instruction at `at` in a block when a module with the blocks
/// `included` is loaded, because an alternative replaces it.
pub fn is_rewritten(
    object: &Object<'_>,
    included: &BTreeSet<BlockId>,
    block: BlockId,
    at: u64,
) -> bool {
    let replaces = |&entry: &BlockId| {
        let Role::Special(special) = object.section(entry).role else {
            return false;
        };
        let entry = &object[entry];
        let places = entry.references.iter().map(|reference| reference.target);
        let place = |target: Option<Target<'_>>| match target {
            Some(Target::Block(id, offset)) if id == block => u64::try_from(offset).ok(),
            _ => None,
        };
        let mut places = places.take(2);
        let (first, second) = (places.next(), places.next());
        let end = match special.fields {
            Fields::Replacement(lengths) => {
                // The size of what is replaced stands before that of the replacement.
                let length = lengths.iter().find(|(size, _)| *size == entry.size);
                let length = length.and_then(|(_, at)| usize::try_from(at.checked_sub(1)?).ok());
                let length = length.and_then(|at| entry.bytes.get(at));
                place(first)
                    .zip(length)
                    .map(|(start, length)| start.saturating_add(u64::from(*length)))
            }
            Fields::FromStart => place(second),
            _ => None,
        };
        let (Some(start), Some(end)) = (place(first), end) else {
            return false;
        };
        (start..end).contains(&at)
    };
    included.iter().any(replaces)
}
