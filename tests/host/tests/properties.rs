// SPDX-License-Identifier: GPL-2.0

//! Sections of relocations, shadow variables and the registry, against plain models.
#![cfg(not(loom))]

use kernel::prelude::*;
use livepatch_core::relocation::{write, Action, Section};
use livepatch_core::shadow::{get_or_allocate, Key, Outcome, Store};
use livepatch_core::symbol::{Name, Symbols};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

/// Symbols of the kernel and of a module: whether the symbol is in the module, its name, its
/// address.
struct Table(Vec<(bool, u8, usize)>);

impl Symbols for Table {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        for &(in_module, own, address) in &self.0 {
            let matches = !in_module && name.as_bytes() == [own];
            if matches && found(address).is_break() {
                return;
            }
        }
    }

    fn each_symbol(&self, object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        assert_eq!(object.as_bytes(), b"ext4");
        for &(in_module, own, address) in &self.0 {
            if in_module && found(&[own], address).is_break() {
                return;
            }
        }
    }

    fn size_at(&self, _address: usize) -> Option<usize> {
        None
    }
}

/// A relocation's symbol.
#[derive(Clone, Copy, Debug)]
struct Reference {
    in_module: bool,
    name: u8,
    position: usize,
    marked: bool,
}

struct Rela {
    of_module: bool,
    names: Vec<(String, bool)>,
    addresses: Vec<Option<usize>>,
    applied: usize,
}

impl Section for Rela {
    fn name(&self) -> &[u8] {
        match self.of_module {
            true => b".klp.rela.ext4.text",
            false => b".klp.rela.vmlinux.text",
        }
    }
    fn symbol_table(&self) -> u32 {
        1
    }
    fn count(&self) -> usize {
        self.names.len()
    }
    fn symbol(&self, index: usize) -> Option<(&[u8], bool)> {
        let (name, marked) = self.names.get(index)?;
        Some((name.as_bytes(), *marked))
    }
    fn set_address(&mut self, index: usize, address: usize) {
        self.addresses[index] = Some(address);
    }
    fn apply(&mut self) -> Result {
        self.applied += 1;
        Ok(())
    }
    fn clear(&mut self) {
        self.applied = 0;
    }
}

fn reference() -> impl Strategy<Value = Reference> {
    let odds = proptest::bool::weighted;
    (odds(0.6), b'a'..=b'c', 0usize..4, odds(0.9)).prop_map(
        |(in_module, name, position, marked)| Reference {
            in_module,
            name,
            position,
            marked,
        },
    )
}

/// Returns the address that a reference in such a section must get. `None`: the section is refused.
fn resolve(table: &Table, reference: &Reference, of_module: bool) -> Option<usize> {
    let matches: Vec<usize> = table
        .0
        .iter()
        .filter(|symbol| (symbol.0, symbol.1) == (reference.in_module, reference.name))
        .map(|symbol| symbol.2)
        .collect();
    let allowed = reference.marked && (reference.in_module || !of_module);
    match reference.position {
        _ if !allowed => None,
        0 => (matches.len() == 1).then(|| matches[0]),
        nth => matches.get(nth - 1).copied(),
    }
}

proptest! {
    #[test]
    fn sections_are_written_whole_or_not_at_all(
        symbols in vec((any::<bool>(), b'a'..=b'c', 1usize..1000), 0..10),
        references in vec(reference(), 0..5),
        of_module: bool,
        for_module: bool,
    ) {
        let table = Table(symbols);
        let object = for_module.then_some(&b"ext4"[..]);
        let name = |reference: &Reference| {
            let object = if reference.in_module { "ext4" } else { "vmlinux" };
            let name = char::from(reference.name);
            (format!(".klp.sym.{object}.{name},{}", reference.position), reference.marked)
        };
        let mut rela = Rela {
            of_module,
            names: references.iter().map(name).collect(),
            addresses: vec![None; references.len()],
            applied: 0,
        };
        let result = write(&table, &mut rela, object, Action::Apply);
        let expected: Option<Vec<usize>> = references
            .iter()
            .map(|reference| resolve(&table, reference, of_module))
            .collect();
        match expected {
            _ if of_module != for_module => {
                prop_assert!(result.is_ok() && rela.applied == 0, "another object's");
            }
            Some(addresses) => {
                prop_assert!(result.is_ok() && rela.applied == 1);
                prop_assert_eq!(rela.addresses.into_iter().flatten().collect::<Vec<_>>(), addresses);
            }
            None => {
                prop_assert_eq!(result, Err(EINVAL));
                prop_assert_eq!(rela.applied, 0, "half of a section");
                prop_assert_eq!(kernel::log().len(), 1);
            }
        }
        let _ = kernel::log();
    }
}

/// A table of shadow variables. Each variable knows its number.
#[derive(Default)]
struct Shadows {
    table: RefCell<Vec<(Key, usize)>>,
    next: Cell<usize>,
    memory: Cell<bool>,
    constructor: Cell<c_int>,
    /// The variable that another CPU adds before this one gets the lock.
    faster: Cell<Option<Key>>,
}

impl Shadows {
    fn insert(&self, key: Key) -> usize {
        self.next.set(self.next.get() + 1);
        self.table.borrow_mut().push((key, self.next.get()));
        self.next.get()
    }
}

impl Store for Shadows {
    type Data = usize;
    type Variable = Key;
    type Locked = ();

    fn get(&self, key: Key) -> Option<usize> {
        let table = self.table.borrow();
        let mut own = table.iter().filter(|entry| entry.0 == key);
        let data = own.next().map(|entry| entry.1);
        assert!(own.next().is_none(), "{key:?} is there twice");
        data
    }
    fn allocate(&self, key: Key) -> Option<Key> {
        self.memory.get().then_some(key)
    }
    fn construct(&self, (): &(), _: &mut Key) -> Result<(), c_int> {
        match self.constructor.get() {
            0 => Ok(()),
            error => Err(error),
        }
    }
    fn add(&self, (): &(), key: Key) -> usize {
        self.insert(key)
    }
    fn lock<R>(&self, job: impl FnOnce(&()) -> R) -> R {
        if let Some(key) = self.faster.take().filter(|&key| self.get(key).is_none()) {
            self.insert(key);
        }
        job(&())
    }
}

fn key() -> impl Strategy<Value = Key> {
    (0usize..3, 0usize..3).prop_map(|(object, id)| Key { object, id })
}

proptest! {
    #[test]
    fn shadow_variables_come_into_being_once(
        calls in vec(
            (key(), proptest::option::of(key()), proptest::bool::weighted(0.8), -2i32..2),
            0..40,
        ),
    ) {
        let store = Shadows::default();
        for (key, faster, memory, constructor) in calls {
            store.memory.set(memory);
            store.constructor.set(constructor);
            store.faster.set(faster);
            let before = store.get(key);
            let outcome = get_or_allocate(&store, key);
            let after = store.get(key);
            match outcome {
                Outcome::Existing(data) => {
                    prop_assert_eq!(after, Some(data));
                    prop_assert!(before == Some(data) || faster == Some(key));
                }
                Outcome::New(data) => {
                    prop_assert_eq!((before, after), (None, Some(data)));
                    prop_assert!(memory && constructor == 0 && faster != Some(key));
                }
                Outcome::NoMemory => prop_assert!(!memory && before.is_none() && after.is_none()),
                Outcome::NotConstructed(error) => {
                    prop_assert!(error == constructor && error != 0);
                    prop_assert!(memory && before.is_none() && after.is_none());
                }
            }
        }
    }
}

mod registry {
    use host_tests::recipe::Recipe;
    use host_tests::structures::PatchId;
    use host_tests::tasks::TaskId::Thread;
    use host_tests::world::World;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const FUNCTIONS: [&str; 3] = ["cmdline", "meminfo", "uptime"];

    /// An action of the administrator, who waits for each transition.
    #[derive(Clone, Debug)]
    enum Act {
        /// Loads a patch of these functions, which may replace all others.
        Load(Vec<bool>, bool),
        /// Disables the nth enabled patch, and enables it again before every task has moved.
        Reverse(usize),
        /// Disables the nth enabled patch.
        Unload(usize),
    }

    /// A patch in the model: its name, and the functions that it has.
    struct Installed {
        id: PatchId,
        name: String,
        functions: Vec<bool>,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (vec(any::<bool>(), 3), proptest::bool::weighted(0.3))
                .prop_map(|(functions, replace)| Act::Load(functions, replace)),
            1 => (0usize..5).prop_map(Act::Reverse),
            2 => (0usize..5).prop_map(Act::Unload),
        ]
    }

    /// Checks that every call gets the version of the newest patch with the function, or the
    /// original.
    fn check(world: &World, installed: &[Installed]) {
        for (index, function) in FUNCTIONS.iter().enumerate() {
            let newest = installed.iter().rev().find(|patch| patch.functions[index]);
            let object = newest.map_or("vmlinux", |patch| &patch.name);
            assert_eq!(
                world.call(Thread(1), function),
                format!("{object}:{function}")
            );
        }
        for (index, patch) in installed.iter().enumerate() {
            assert_eq!(world.core.stack_order(patch.id), index + 1);
        }
        assert_eq!(world.core.patches().len(), installed.len());
    }

    /// Each input is a whole machine. So a hundredth of the usual number is tried, but no fewer
    /// than by default.
    fn machines() -> ProptestConfig {
        let config = ProptestConfig::default();
        let cases = (config.cases / 100).max(256);
        ProptestConfig { cases, ..config }
    }

    proptest! {
        #![proptest_config(machines())]

        #[test]
        fn patches_are_a_stack(acts in vec(act(), 1..20)) {
            let mut world = World::new();
            let mut installed: Vec<Installed> = Vec::new();
            for (number, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Load(functions, replace) => {
                        let name = format!("patch{number}");
                        let mut recipe = Recipe::new(&name).vmlinux();
                        for (function, _) in FUNCTIONS.iter().zip(&functions).filter(|own| *own.1) {
                            recipe = recipe.function(function);
                        }
                        if replace {
                            recipe = recipe.replacing();
                            installed.clear();
                        }
                        let id = world.load(&recipe);
                        installed.push(Installed { id, name, functions });
                    }
                    Act::Reverse(nth) => {
                        if let Some(patch) = installed.get(nth) {
                            world.thread(1).reliable.set(false);
                            world.write_enabled(patch.id, "0").unwrap();
                            world.wait_stuck();
                            world.write_enabled(patch.id, "1").unwrap();
                            world.wait();
                            world.thread(1).reliable.set(true);
                        }
                    }
                    Act::Unload(nth) => {
                        if nth < installed.len() {
                            world.unload(installed.remove(nth).id);
                        }
                    }
                }
                world.run_deferred();
                check(&world, &installed);
            }
            while let Some(patch) = installed.pop() {
                world.unload(patch.id);
                check(&world, &installed);
            }
            world.check_pristine();
        }
    }
}
