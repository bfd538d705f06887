// SPDX-License-Identifier: GPL-2.0
//! From an original and a patched object file to the object of a live patch.
//!
//! Bytes in, bytes out: nothing here reads a file or knows a kernel tree. The stages, in order:
//!
//! | module | what it does |
//! |---|---|
//! | [`read`], [`section`], [`cut`], [`resolve`] | reads an object as a graph ([`graph`]) of blocks and references |
//! | [`correlate`] | finds which block is which in the other object |
//! | [`compare`], [`lines`] | decides what changed, by meaning |
//! | [`select`] | selects what the module needs, and refuses what it can't hold |
//!
//! What an architecture has of its own is in [`arch`]; sections whose entries describe functions are
//! in [`special`]. Nothing is guessed: what the engine does not understand, it refuses ([`error`]).

#![forbid(unsafe_code)]

pub mod arch;
pub mod author;
mod code;
pub mod compare;
pub mod correlate;
mod cut;
pub mod error;
pub mod graph;
mod lines;
pub mod names;
mod read;
mod resolve;
pub mod section;
pub mod select;
pub mod special;

use crate::author::Wishes;
use crate::compare::Comparison;
use crate::correlate::Correlation;
use crate::graph::Object;
use crate::select::Selection;
pub use error::{Error, Input, Reason, Refusal};

/// What the engine is told besides the two objects.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The module that the objects are part of, or nothing for the kernel itself.
    pub module: Option<String>,
}

/// What a patch changes, and what its module needs.
#[derive(Debug)]
pub struct Diff<'d> {
    /// The original object.
    pub original: Object<'d>,
    /// The patched object.
    pub patched: Object<'d>,
    /// Which block is which.
    pub pairs: Correlation,
    /// What the author of the patch says.
    pub wishes: Wishes,
    /// What goes into the module.
    pub selection: Selection,
}

impl<'d> Diff<'d> {
    /// Compares two objects.
    pub fn new(original: &'d [u8], patched: &'d [u8], options: &Options) -> Result<Self, Error> {
        let original = resolve::graph(Input::Original, original)?;
        let patched = resolve::graph(Input::Patched, patched)?;
        if original.arch.name() != patched.arch.name() {
            return Err(Error::Mismatch("architecture"));
        }
        if original.flags != patched.flags {
            return Err(Error::Mismatch("the flags of the ABI"));
        }
        let pairs = correlate::correlate(&original, &patched);
        let wishes = author::wishes(&patched);
        let selection = {
            let comparison = Comparison::new(&original, &patched, &pairs);
            let module = options.module.is_some();
            select::select(&original, &patched, &pairs, &comparison, &wishes, module)?
        };
        Ok(Self {
            original,
            patched,
            pairs,
            wishes,
            selection,
        })
    }

    /// Returns the function symbols in the module, changed and new, in the object's order: also
    /// second names of a function, and names of the padding before it.
    pub fn functions(&self) -> Vec<&'d str> {
        let included = self.selection.included.iter().copied();
        let symbols = included.flat_map(|id| &self.patched[id].symbols);
        let functions = symbols.filter(|symbol| symbol.kind == object::elf::STT_FUNC);
        functions.map(|symbol| symbol.name).collect()
    }
}
