// SPDX-License-Identifier: GPL-2.0

//! Code: the functions, their addresses and their names.

use crate::simulation::Simulation;
use livepatch_core::stack::Range;
use livepatch_core::symbol::{Name, Symbols};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

/// The size of each function's code in bytes. Functions lie side by side, so that ranges touch.
pub const SIZE: usize = 0x40;

/// A function in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The owner: `None` for the kernel, otherwise a module, which may be a livepatch.
    pub object: Option<String>,
    /// Its name.
    pub name: String,
    /// Its code.
    pub range: Range,
    /// Whether ftrace can take it over.
    pub traceable: bool,
}

/// All functions in memory.
#[derive(Default)]
pub struct Code {
    functions: RefCell<Vec<Function>>,
    placed: Cell<usize>,
    reserved: RefCell<Vec<(Option<String>, String, usize)>>,
}

impl Code {
    /// Adds a function and returns its address. Only [reserved](Self::reserve) addresses are used
    /// more than once.
    pub fn add(&self, object: Option<&str>, name: &str) -> usize {
        let reserved = self.reserved.borrow();
        let place = reserved
            .iter()
            .find(|(owner, own, _)| owner.as_deref() == object && own == name);
        let start = place.map_or_else(|| self.place(), |&(_, _, start)| start);
        self.add_at(object, name, Range { start, size: SIZE });
        start
    }

    fn place(&self) -> usize {
        let start = 0x1000 + self.placed.get() * SIZE;
        self.placed.set(self.placed.get() + 1);
        start
    }

    /// Fixes the address at which a function is placed each time that it is added. Returns the
    /// address.
    pub fn reserve(&self, object: Option<&str>, name: &str) -> usize {
        let start = self.place();
        let place = (object.map(str::to_owned), name.to_owned(), start);
        self.reserved.borrow_mut().push(place);
        start
    }

    /// Adds a function at a given place.
    pub fn add_at(&self, object: Option<&str>, name: &str, range: Range) {
        self.functions.borrow_mut().push(Function {
            object: object.map(str::to_owned),
            name: name.to_owned(),
            range,
            traceable: true,
        });
    }

    /// Marks `name` as a function that ftrace can't take over.
    pub fn set_untraceable(&self, name: &str) {
        for function in self.functions.borrow_mut().iter_mut() {
            function.traceable &= function.name != name;
        }
    }

    /// Takes a module's code out of memory and returns its ranges.
    pub fn remove(&self, object: &str) -> Vec<Range> {
        let mut gone = Vec::new();
        self.functions.borrow_mut().retain(|function| {
            let keep = function.object.as_deref() != Some(object);
            if !keep {
                gone.push(function.range);
            }
            keep
        });
        gone
    }

    /// Returns the address of the first function with that name.
    pub fn address(&self, object: Option<&str>, name: &str) -> Option<usize> {
        self.functions
            .borrow()
            .iter()
            .find(|function| function.object.as_deref() == object && function.name == name)
            .map(|function| function.range.start)
    }

    /// Returns the function that covers `address`.
    pub fn at(&self, address: usize) -> Option<Function> {
        self.functions
            .borrow()
            .iter()
            .find(|function| contains(function.range, address))
            .cloned()
    }
}

/// Whether `address` is in `range`.
pub fn contains(range: Range, address: usize) -> bool {
    address >= range.start && address - range.start < range.size
}

impl Simulation {
    /// Returns the symbols of an object, by name and address.
    fn symbols(&self, object: Option<&Name>) -> Vec<(String, usize)> {
        self.point();
        let functions = self.code.functions.borrow();
        let own = functions.iter().filter(|function| {
            function.object.as_deref().map(str::as_bytes) == object.map(Name::as_bytes)
        });
        own.map(|function| (function.name.clone(), function.range.start))
            .collect()
    }
}

impl Symbols for Simulation {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        let symbols = self.symbols(None).into_iter();
        let mut matching = symbols.filter(|(own, _)| own.as_bytes() == name.as_bytes());
        let _ = matching.try_for_each(|(_, address)| found(address));
    }

    fn each_symbol(&self, object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        let mut symbols = self.symbols(Some(object)).into_iter();
        let _ = symbols.try_for_each(|(name, address)| found(name.as_bytes(), address));
    }

    fn size_at(&self, address: usize) -> Option<usize> {
        self.code.at(address).map(|function| function.range.size)
    }
}
