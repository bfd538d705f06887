// SPDX-License-Identifier: GPL-2.0
//! The core.

use crate::parts;
use kernel::prelude::*;
use livepatch_core::relocation::{
    parse_section, parse_symbol, write, Action, Section, MAX_OBJECT, MAX_SYMBOL, SECTION_PREFIX,
    SYMBOL_PREFIX,
};
use livepatch_core::symbol::{Name, Symbols};
use std::ops::ControlFlow;

/// The address of the only symbol of each name.
const ADDRESS: usize = 0x1000;

/// A kernel in which each name is there once, unless it begins with `f`.
struct Kernel;

impl Symbols for Kernel {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        if !name.as_bytes().starts_with(b"f") {
            let _ = found(ADDRESS);
        }
    }

    fn each_match_in(
        &self,
        _object: &Name,
        name: &Name,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        self.each_match(name, found);
    }

    fn each_symbol(&self, _object: &Name, _found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
    }

    fn size_at(&self, _address: usize) -> Option<usize> {
        None
    }
}

/// A section, and what was done to it.
struct Rela<'a> {
    name: &'a [u8],
    symbols: Vec<&'a [u8]>,
    addresses: Vec<Option<usize>>,
    applied: bool,
}

impl Section for Rela<'_> {
    fn name(&self) -> &[u8] {
        self.name
    }

    fn symbol_table(&self) -> u32 {
        1
    }

    fn count(&self) -> usize {
        self.symbols.len()
    }

    fn symbol(&self, index: usize) -> Option<(&[u8], bool)> {
        Some((self.symbols.get(index)?, true))
    }

    fn set_address(&mut self, index: usize, address: usize) {
        self.addresses[index] = Some(address);
    }

    fn apply(&mut self) -> Result {
        let all = self.addresses.iter().all(|own| *own == Some(ADDRESS));
        assert!(all, "a symbol has no address: {:?}", self.addresses);
        self.applied = true;
        Ok(())
    }

    fn clear(&mut self) {
        panic!("nobody has asked for it");
    }
}

/// The name of a section, and names of symbols.
pub fn names(bytes: &[u8]) {
    let [section, symbols] = parts(bytes);
    let symbols: Vec<&[u8]> = symbols.split(|byte| *byte == 0).collect();

    let object = parse_section(section);
    if let Some(object) = object {
        let rest = section.strip_prefix(SECTION_PREFIX).unwrap_or_default();
        assert!(rest.starts_with(object) && !object.contains(&b'.'));
        assert!((1..=MAX_OBJECT).contains(&object.len()));
    }
    for name in &symbols {
        let Some(symbol) = parse_symbol(name) else {
            continue;
        };
        assert!((1..=MAX_OBJECT).contains(&symbol.object.len()) && !symbol.object.contains(&b'.'));
        assert!((1..=MAX_SYMBOL).contains(&symbol.name.len()) && !symbol.name.contains(&b','));
        let head = [SYMBOL_PREFIX, symbol.object, b".", symbol.name, b","].concat();
        let digits = name
            .strip_prefix(&*head)
            .expect("the parts are those of the name");
        let digits = std::str::from_utf8(digits).expect("digits are ASCII");
        assert_eq!(digits.parse(), Ok(symbol.position));
    }

    let mut rela = Rela {
        name: section,
        addresses: vec![None; symbols.len()],
        symbols,
        applied: false,
    };
    let written = write(&Kernel, &mut rela, object, Action::Apply);
    assert_eq!(written.is_ok(), rela.applied, "written whole, or refused");
}
