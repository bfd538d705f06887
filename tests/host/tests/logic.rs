// SPDX-License-Identifier: GPL-2.0

//! Stack checks, symbols and system states for any input, each against a plain model; and what is
//! said of relocations that are refused.
//!
//! The core's own unit tests have the single cases: see `#[kunit_tests]` in `core/src/`.
#![cfg(not(loom))]

use kernel::prelude::*;
use livepatch_core::stack::{Range, StackCheck};
use livepatch_core::state::{is_compatible, previous, SystemState};
use livepatch_core::symbol::{find, find_all, Name, Sizes, Symbols, Text};
use livepatch_core::task::State;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::cell::Cell;
use std::ops::ControlFlow;

/// A function, as the slots of its old and its new code. Slots lie side by side. A slot may have
/// several functions (aliases).
type Changed = (usize, usize);

const SLOT: usize = 16;
const BASE: usize = 0x1000;

/// Returns the code of a slot. Some leave a gap, some touch the next slot, one is empty.
fn range(slot: usize) -> Range {
    Range {
        start: BASE + slot * SLOT,
        size: [SLOT, SLOT, SLOT - 3, 1, 0][slot % 5],
    }
}

/// Where the original of the `index`-th function calls the tracer.
fn entry(index: usize) -> Range {
    Range {
        start: BASE + (20 + index) * SLOT,
        size: 9,
    }
}

/// Where a function calls the tracer whose code from before the change is the original.
fn entry_of(old: usize) -> Range {
    Range {
        start: range(old).start,
        size: 9,
    }
}

/// Returns a stack check without functions, with room for this many. The names are `0`, `1`, ….
fn empty(functions: usize) -> StackCheck {
    let name = |number: usize| Name::new(number.to_string().as_bytes()).unwrap();
    let names: Vec<Name> = (0..functions).map(name).collect();
    StackCheck::new(names.iter()).unwrap()
}

/// Adds the functions with these numbers to a stack check.
fn add(check: &mut StackCheck, functions: &[Changed], numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let (old, new) = functions[number];
        check
            .push(number, entry(number), range(old), range(new))
            .unwrap();
    }
    check.finish();
}

fn naive(functions: &[Changed], target: State, entries: &[usize]) -> Option<usize> {
    (0..functions.len()).find(|&number| is_inside(functions, number, target, entries))
}

/// Whether an address is in the `number`-th function, or at its entry.
fn is_inside(functions: &[Changed], number: usize, target: State, entries: &[usize]) -> bool {
    let (old, new) = functions[number];
    let own = range(if target == State::Unpatched { new } else { old });
    is_in(&[own, entry(number)], entries)
}

fn is_in(ranges: &[Range], entries: &[usize]) -> bool {
    entries.iter().any(|&address| {
        ranges
            .iter()
            .any(|range| address >= range.start && address < range.start + range.size)
    })
}

proptest! {
    #[test]
    fn stack_check_is_a_linear_search(
        functions in vec((0usize..12, 0usize..12), 0..10),
        entries in vec(BASE - 8..BASE + 31 * SLOT, 0..6),
        far in proptest::option::of(prop_oneof![Just(0), Just(usize::MAX), any::<usize>()]),
    ) {
        let mut check = empty(functions.len());
        add(&mut check, &functions, 0..functions.len());
        let mut entries = entries;
        entries.extend(far);
        for target in [State::Patched, State::Unpatched] {
            let found = naive(&functions, target, &entries);
            prop_assert_eq!(check.find(target, &entries), found);
            prop_assert_eq!(check.points_into(target, &entries), found.is_some());
        }
    }

    /// An object of the patch goes, and perhaps comes back.
    #[test]
    fn stack_check_forgets_functions(
        functions in vec((0usize..12, 0usize..12), 0..10),
        gone in (0usize..12, 0usize..12),
        back: bool,
        entries in vec(BASE - 8..BASE + 31 * SLOT, 0..6),
    ) {
        let gone = gone.0..gone.1;
        let mut check = empty(functions.len());
        add(&mut check, &functions, 0..functions.len());
        check.remove(gone.clone());
        if back {
            add(&mut check, &functions, gone.clone().filter(|&number| number < functions.len()));
        }
        for target in [State::Patched, State::Unpatched] {
            let left = (0..functions.len()).filter(|number| back || !gone.contains(number));
            let found = left
                .clone()
                .find(|&number| is_inside(&functions, number, target, &entries));
            prop_assert_eq!(check.find(target, &entries), found);
            prop_assert_eq!(check.points_into(target, &entries), found.is_some());
            for entry in &entries {
                let found = left
                    .clone()
                    .find(|&number| is_inside(&functions, number, target, &[*entry]));
                prop_assert_eq!(check.find(target, &[*entry]), found);
            }
        }
    }

    /// A function may end before the return address of its call of the tracer.
    #[test]
    fn stack_check_covers_the_entry_of_a_short_function(
        functions in proptest::sample::subsequence((0usize..12).collect::<Vec<_>>(), 0..12).prop_shuffle(),
        entries in vec(BASE - 8..BASE + 25 * SLOT, 0..6),
    ) {
        let mut check = empty(functions.len());
        for (number, &slot) in functions.iter().enumerate() {
            check
                .push(number, entry_of(slot), range(slot), range(12 + slot))
                .unwrap();
        }
        check.finish();
        for target in [State::Patched, State::Unpatched] {
            let found = functions.iter().position(|&slot| {
                let own = range(if target == State::Unpatched { 12 + slot } else { slot });
                is_in(&[own, entry_of(slot)], &entries)
            });
            prop_assert_eq!(check.find(target, &entries), found);
            prop_assert_eq!(check.points_into(target, &entries), found.is_some());
        }
    }

    #[test]
    fn stack_check_at_each_edge(slot in 0usize..12, functions in vec((0usize..12, 0usize..12), 1..8)) {
        let mut check = empty(functions.len());
        add(&mut check, &functions, 0..functions.len());
        let Range { start, size } = range(slot);
        for entry in [start - 1, start, start + size.saturating_sub(1), start + size] {
            for target in [State::Patched, State::Unpatched] {
                prop_assert_eq!(check.find(target, &[entry]), naive(&functions, target, &[entry]));
            }
        }
    }
}

/// A symbol table: names and addresses, and the number of matches looked at.
struct Table(Vec<(u8, usize)>, Cell<usize>);

impl Symbols for Table {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        for &(_, address) in self.0.iter().filter(|own| name.as_bytes() == [own.0]) {
            self.1.set(self.1.get() + 1);
            if found(address).is_break() {
                return;
            }
        }
    }

    fn each_symbol(&self, _object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        for &(own, address) in &self.0 {
            if found(&[own], address).is_break() {
                return;
            }
        }
    }

    fn size_at(&self, _address: usize) -> Option<usize> {
        None
    }
}

/// The symbols of a module, the memory that they are in, and a model of how kallsyms finds a
/// symbol's size.
struct Module {
    symbols: Vec<(String, usize)>,
    /// The begin and end of each area of memory.
    memory: Vec<(usize, usize)>,
}

impl Module {
    /// Returns the symbols that kallsyms does not ignore.
    fn named(&self) -> impl Iterator<Item = &(String, usize)> + Clone {
        self.symbols.iter().filter(|(name, _)| {
            !name.is_empty() && !["$", ".L", "L0"].iter().any(|mark| name.starts_with(mark))
        })
    }
}

impl Symbols for Module {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, _name: &Name, _found: &mut dyn FnMut(usize) -> ControlFlow<()>) {}

    fn each_symbol(&self, _object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        for (name, address) in self.named() {
            if found(name.as_bytes(), *address).is_break() {
                return;
            }
        }
    }

    /// Follows the rules of `find_kallsyms_symbol()`.
    fn size_at(&self, address: usize) -> Option<usize> {
        let inside = |&&(begin, end): &&(usize, usize)| (begin..end).contains(&address);
        let &(begin, end) = self.memory.iter().find(inside)?;
        let starts = self.named().map(|&(_, start)| start);
        let own = starts
            .clone()
            .filter(|start| (begin..=address).contains(start));
        let next = starts.filter(|start| (address + 1..end).contains(start));
        Some(next.min().unwrap_or(end) - own.max()?)
    }
}

proptest! {
    #[test]
    fn sizes_are_those_of_kallsyms(
        symbols in vec(
            (select(vec!["a", "b", "$x", ".L1", "L01", "L1", ".a", ""]), 0usize..16, 0usize..0x80),
            0..40,
        ),
        addresses in vec((0usize..16, 0usize..0x80), 0..20),
    ) {
        // Pages 0 to 7, then a gap of one page, then the others.
        let place = |page: usize, offset: usize| (page + usize::from(page > 7)) * 4096 + 16 * offset;
        let module = Module {
            symbols: symbols
                .iter()
                .map(|&(name, page, offset)| (name.to_owned(), place(page, offset)))
                .collect(),
            memory: vec![(0, 2 * 4096), (2 * 4096, 5 * 4096), (5 * 4096, 8 * 4096), (9 * 4096, 17 * 4096)],
        };
        let addresses: Vec<usize> = addresses
            .iter()
            .map(|&(page, offset)| place(page, offset))
            // Most of the addresses are symbols.
            .chain(module.symbols.iter().map(|&(_, address)| address))
            .collect();
        let name = Name::new(b"module").unwrap();
        let sizes = Sizes::of(&module, &name, addresses.iter().copied()).unwrap();
        for address in addresses {
            prop_assert_eq!(sizes.at(&module, address), module.size_at(address), "{:#x}", address);
        }
    }
}

proptest! {
    #[test]
    fn symbols_are_found_by_position(
        symbols in vec((b'a'..=b'c', 1usize..1000), 0..12),
        name in b'a'..=b'c',
        position in 0usize..6,
    ) {
        let matches: Vec<usize> = symbols
            .iter()
            .filter(|symbol| symbol.0 == name)
            .map(|symbol| symbol.1)
            .collect();
        let expected = match position {
            0 if matches.len() == 1 => Some(matches[0]),
            0 => None,
            n => matches.get(n - 1).copied(),
        };
        let table = Table(symbols, Cell::default());
        let found = find(&table, None, &Name::new(&[name]).unwrap(), position);
        prop_assert_eq!(found.ok(), expected);
        // The search looks no farther than it must.
        let enough = if position == 0 { 2 } else { position };
        prop_assert_eq!(table.1.get(), matches.len().min(enough));
        prop_assert_eq!(kernel::log().len(), usize::from(expected.is_none()));
    }

    /// One pass finds the same symbols as single searches, with the same messages.
    #[test]
    fn symbols_are_found_together(
        symbols in vec((b'a'..=b'c', 1usize..1000), 0..12),
        wanted in vec((b'a'..=b'd', 0usize..4), 0..6),
    ) {
        let table = Table(symbols, Cell::default());
        let object = Name::new(b"ext4").unwrap();
        let wanted: Vec<(Name, usize)> = wanted
            .iter()
            .map(|&(name, position)| (Name::new(&[name]).unwrap(), position))
            .collect();
        let one_by_one: Vec<_> = wanted
            .iter()
            .map(|(name, position)| find(&table, Some(&object), name, *position).ok())
            .collect();
        let said = kernel::log();
        let names = wanted.iter().map(|(name, position)| (name, *position));
        let tallies = find_all(&table, &object, names).unwrap();
        let together: Vec<_> = tallies
            .iter()
            .zip(&wanted)
            .map(|(tally, (name, position))| tally.address(Some(&object), name, *position).ok())
            .collect();
        prop_assert_eq!(together, one_by_one);
        prop_assert_eq!(kernel::log(), said);
    }

    #[test]
    fn states_are_compatible_as_documented(
        new in vec((1usize..5, 0u32..4), 0..5),
        replace: bool,
        installed in vec((1usize..5, 0u32..4), 0..5),
    ) {
        let states = |list: &[(usize, u32)]| -> Vec<SystemState> {
            list.iter().map(|&(id, version)| SystemState { id, version }).collect()
        };
        let mut expected = true;
        for &(id, version) in &installed {
            // The first state with that identifier counts, as in the C core.
            expected &= match new.iter().find(|state| state.0 == id) {
                Some(state) => state.1 >= version,
                None => !replace,
            };
        }
        prop_assert_eq!(is_compatible(&states(&new), replace, &states(&installed)), expected);
    }

    #[test]
    fn previous_state_is_the_newest_before_the_transition(
        patches in vec(proptest::option::of(any::<u8>()), 0..6),
        transition in 0usize..7,
    ) {
        let mut expected = None;
        for (index, state) in patches.iter().enumerate() {
            if index == transition {
                break;
            }
            expected = state.or(expected);
        }
        let found = previous(patches.iter().copied().enumerate(), transition);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn names_are_printed_and_copied_whole(bytes in vec(any::<u8>(), 0..20)) {
        match Name::new(&bytes) {
            Err(error) => prop_assert!(bytes.contains(&0) && error == EINVAL),
            Ok(name) => {
                prop_assert_eq!(name.as_bytes(), bytes.as_slice());
                prop_assert_eq!(name.as_bytes_with_nul().split_last(), Some((&0, bytes.as_slice())));
                prop_assert!(name == name.duplicate().unwrap());
                let printed = Text(&bytes).to_string();
                prop_assert_eq!(&printed, &name.to_string());
                if let Ok(text) = std::str::from_utf8(&bytes) {
                    prop_assert_eq!(printed, text);
                }
            }
        }
    }
}

mod relocations {
    use super::Table;
    use kernel::prelude::*;
    use livepatch_core::relocation::{write, Action, Section};

    struct Fake {
        name: &'static str,
        symbols: Vec<(&'static str, bool)>,
        addresses: Vec<usize>,
        applied: Option<bool>,
    }

    impl Fake {
        fn new(name: &'static str, symbols: &[(&'static str, bool)]) -> Self {
            Self {
                name,
                symbols: symbols.to_vec(),
                addresses: vec![0; symbols.len()],
                applied: None,
            }
        }
    }

    impl Section for Fake {
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
            (name != "missing").then_some((name.as_bytes(), marked))
        }
        fn set_address(&mut self, index: usize, address: usize) {
            self.addresses[index] = address;
        }
        fn apply(&mut self) -> Result {
            self.applied = Some(true);
            Ok(())
        }
        fn clear(&mut self) {
            self.applied = Some(false);
        }
    }

    fn table() -> Table {
        Table(vec![(b'a', 10), (b'b', 20), (b'b', 21)], Default::default())
    }

    #[test]
    fn refused() {
        let good = (".klp.sym.ext4.a,0", true);
        let cases = [
            (
                ".klp.rela.ext4.text",
                ("printk", false),
                "symbol printk at rela sec 9 idx 1 is not marked as a livepatch symbol\n",
            ),
            (
                ".klp.rela.ext4.text",
                (".klp.sym.ext4.a", true),
                "symbol .klp.sym.ext4.a has an incorrectly formatted name\n",
            ),
            (
                ".klp.rela.ext4.text",
                (".klp.sym.vmlinux.a,0", true),
                "invalid access to vmlinux symbol 'a' from module-specific livepatch relocation \
                 section\n",
            ),
            (
                ".klp.rela.ext4.text",
                (".klp.sym.ext4.b,0", true),
                "unresolvable ambiguity for symbol 'b' in object 'ext4'\n",
            ),
        ];
        for (name, symbol, message) in cases {
            let mut section = Fake::new(name, &[good, symbol]);
            let result = write(&table(), &mut section, Some(b"ext4"), Action::Apply);
            assert_eq!(result, Err(EINVAL));
            assert_eq!(section.applied, None);
            assert_eq!(kernel::log(), [message]);
        }
        let mut section = Fake::new(".klp.rela.ext4.text", &[good, ("missing", true)]);
        let result = write(&table(), &mut section, Some(b"ext4"), Action::Apply);
        assert_eq!(result, Err(EINVAL));
        for action in [Action::Apply, Action::Clear] {
            let mut section = Fake::new(".klp.rela.", &[good]);
            assert_eq!(write(&table(), &mut section, None, action), Err(EINVAL));
            assert_eq!(
                kernel::log(),
                ["section .klp.rela. has an incorrectly formatted name\n"]
            );
        }
    }
}
