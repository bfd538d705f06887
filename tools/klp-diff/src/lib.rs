// SPDX-License-Identifier: GPL-2.0
//! From an original and a patched object file to the object of a live patch.
//!
//! Bytes in, bytes out: nothing here reads a file or knows a kernel tree. The stages, in order:
//!
//! | module | what it does |
//! |---|---|
//! | [`read`], [`section`], [`cut`], [`resolve`] | reads an object as a graph ([`graph`]) of blocks and references |
//! | [`runtime`] | before that: replaces what a module can't have by what modules use |
//! | [`correlate`] | finds which block is which in the other object |
//! | [`compare`], [`lines`] | decides what changed, by meaning |
//! | [`select`] | selects what the module needs, and refuses what it can't hold |
//! | [`outside`] | finds what the module refers to in the kernel: exports, symbol positions |
//! | [`write`], [`moved`], [`loaded`] | puts the pairs of a patch into one [`plan`] of the module |
//! | [`tables`], [`emit`] | writes what livepatch reads, and the object; [`finish`] converts the linked module |
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
mod emit;
pub mod error;
pub mod finish;
pub mod graph;
mod lines;
mod loaded;
mod moved;
pub mod names;
pub mod outside;
mod plan;
mod read;
mod resolve;
pub mod runtime;
pub mod section;
pub mod select;
pub mod special;
mod tables;
mod write;

use crate::author::Wishes;
use crate::compare::Comparison;
use crate::correlate::Correlation;
use crate::graph::{BlockId, Object};
use crate::outside::{Exports, Image};
use crate::section::Role;
use crate::select::Selection;
pub use error::{Error, Input, Reason, Refusal};

/// What the engine is told besides the two objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    /// The module that the objects are part of, or nothing for the kernel itself.
    pub module: Option<&'a str>,
    /// The linked kernel or module. Without it, each symbol is taken to be the only one of its name.
    pub image: Option<&'a Image<'a>>,
    /// What is exported. Without it, whatever another object defines is taken to be.
    pub exports: Option<&'a Exports<'a>>,
    /// Further fields for the module's information: the hash of the diff, the build ID of the
    /// kernel, the names of what it fixes.
    pub modinfo: &'a [(&'a str, &'a str)],
    /// Whether the live patch replaces all others. The author's word must not be another one.
    pub replace: Option<bool>,
}

/// A pair of objects, with what the engine was told of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, 'd> {
    /// What the pair changes.
    pub diff: &'a Diff<'d>,
    /// What [`Diff::new`] was told of it.
    pub environment: &'a Environment<'a>,
}

/// Returns the object of a module that has all pairs of a patch, to be linked like that of any
/// module. [`finish`] comes after the link.
///
/// The pairs may be of the kernel and of several modules. Each of those is one `klp_object`, in the
/// order in which its first pair comes. What one pair adds, others can use.
pub fn write_all(parts: &[Part<'_, '_>]) -> Result<Vec<u8>, Error> {
    write::write(parts)
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
    pub fn new(
        original: &'d [u8],
        patched: &'d [u8],
        environment: &Environment<'_>,
    ) -> Result<Self, Error> {
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
            select::select(
                &original,
                &patched,
                &pairs,
                &comparison,
                &wishes,
                environment,
            )?
        };
        Ok(Self {
            original,
            patched,
            pairs,
            wishes,
            selection,
        })
    }

    /// Returns the object of a module for this pair alone: see [`write_all`].
    pub fn write(&self, environment: &Environment<'_>) -> Result<Vec<u8>, Error> {
        write_all(&[Part {
            diff: self,
            environment,
        }])
    }

    /// Returns what the author should know though nothing is refused: what was decided by positions
    /// only, and what the patch adds that no module can bring, such as a module parameter.
    pub fn notes(&self) -> Vec<String> {
        let name = |id| (self.patched.name(id), self.patched.section(id).name);
        let included = |id: &&BlockId| self.selection.included.contains(*id);
        let placed = self.pairs.by_position.iter().filter(included).map(|&id| {
            let (name, section) = name(id);
            format!("`{name}` in {section} was told from others of its name by its position only")
        });
        let left_out = self.patched.ids().filter(|&id| {
            let role = self.patched.section(id).role;
            let new = self.pairs.original(id).is_none() && !self.patched[id].private;
            new && matches!(role, Role::Initialisation | Role::Other)
                && !self.selection.included.contains(&id)
        });
        let left_out = left_out.map(|id| {
            let (name, section) = name(id);
            format!(
                "`{name}` in {section} is new, and is left out: its section is read at boot only"
            )
        });
        placed.chain(left_out).collect()
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
