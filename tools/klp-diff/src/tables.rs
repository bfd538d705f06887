// SPDX-License-Identifier: GPL-2.0
//! The tables that a live patch module is enabled from, and its information.

use crate::arch::Arch;
use crate::author;
use crate::error::{Reason, Refusal};
use crate::graph::BlockId;
use crate::names;
use crate::plan::{Plan, PlanRelocation, Shape};
use crate::select::has_site;
use crate::write::{Module, Pair, Placed, Write};
use object::elf;
use std::collections::{BTreeMap, BTreeSet};

/// Writes all tables.
pub fn write<'a>(pairs: &mut [Pair<'a, '_>], module: &mut Module<'a>) {
    livepatch(pairs, module);
    wishes(pairs, module);
    modinfo(pairs, &mut module.plan);
}

/// Appends a pointer to a place: where a block is, and the offset in it.
pub fn pointer(plan: &mut Plan, arch: &dyn Arch, section: usize, (to, offset): (Placed, u64)) {
    let at = plan.append(section, &[0; 8], 8, 8, 0);
    let symbol = plan.section_symbol(to.section);
    let addend = (to.offset as i64).wrapping_add(offset as i64);
    let relocation = PlanRelocation {
        offset: at,
        kind: arch.address64(),
        symbol: Some(symbol),
        addend,
    };
    plan.relocate(section, relocation);
}

/// Appends a pointer to a new string.
fn string(plan: &mut Plan, arch: &dyn Arch, section: usize, text: &str) {
    let strings = plan.section(".rodata.klp.str1.1", Shape::data(elf::SectionFlags(0), 1));
    let bytes = [text.as_bytes(), b"\0"].concat();
    let offset = plan.append(strings, &bytes, bytes.len() as u64, 1, 0);
    pointer(plan, arch, section, (Placed::at(strings, offset), 0));
}

/// Appends a number of 64 bits.
fn number(plan: &mut Plan, arch: &dyn Arch, section: usize, number: u64) {
    let bytes = match arch.big_endian() {
        true => number.to_be_bytes(),
        false => number.to_le_bytes(),
    };
    plan.append(section, &bytes, 8, 8, 0);
}

/// Appends an `unsigned int`, and four bytes of padding.
fn short(plan: &mut Plan, arch: &dyn Arch, section: usize, value: u32) {
    let value = u64::from(value);
    let value = if arch.big_endian() {
        value << 32
    } else {
        value
    };
    number(plan, arch, section, value);
}

/// Returns a section for a table of `name`.
fn table(plan: &mut Plan, name: &str) -> usize {
    plan.section(name, Shape::data(elf::SHF_WRITE, 8))
}

/// Writes `struct klp_func_ext` for each replaced function, and one `struct klp_object_ext` for the
/// kernel and for each module.
fn livepatch<'a>(pairs: &mut [Pair<'a, '_>], module: &mut Module<'a>) {
    let functions = table(&mut module.plan, ".init.klp_funcs");
    let objects = table(&mut module.plan, ".init.klp_objects");
    let mut names = Vec::new();
    for pair in pairs.iter() {
        if !names.contains(&pair.environment.module) {
            names.push(pair.environment.module);
        }
    }
    for name in names {
        let first = match module.plan.sections.get(functions) {
            Some(section) => section.size,
            None => 0,
        };
        let (mut count, mut seen, mut arch) = (0, BTreeSet::new(), None);
        let mut callbacks = [None; 4];
        let own = pairs
            .iter_mut()
            .filter(|pair| pair.environment.module == name);
        for pair in own {
            arch = Some(pair.diff.patched.arch);
            let mut write = Write {
                pair,
                module: &mut *module,
            };
            count += write.functions(functions, &mut seen);
            write.callbacks(&mut callbacks);
        }
        let Some(arch) = arch else { continue };
        let plan = &mut module.plan;
        match name {
            Some(name) => string(plan, arch, objects, name),
            None => number(plan, arch, objects, 0),
        }
        pointer(plan, arch, objects, (Placed::at(functions, first), 0));
        for callback in callbacks {
            match callback {
                Some(to) => pointer(plan, arch, objects, to),
                None => number(plan, arch, objects, 0),
            }
        }
        // `post_unpatch_enabled` is livepatch's own.
        number(plan, arch, objects, 0);
        short(plan, arch, objects, count);
    }
}

impl Write<'_, '_, '_> {
    /// Lists the replaced functions of a pair, and returns their number. `seen` has what other pairs
    /// of the same kernel object replace.
    fn functions(&mut self, section: usize, seen: &mut BTreeSet<(String, u64)>) -> u32 {
        let (diff, mut count) = (self.pair.diff, 0);
        let arch = diff.patched.arch;
        for &id in diff.selection.changed.keys() {
            let (Some(one), Some(placed)) = (diff.pairs.original(id), self.pair.placed(id)) else {
                continue;
            };
            if names::parent(diff.patched.name(id)).is_some() || !has_site(&diff.original, one) {
                continue;
            }
            let name = diff.original.name(one);
            let position = self.pair.position(one).unwrap_or_else(|reason| {
                self.refuse(id, name, reason);
                0
            });
            if !seen.insert((name.to_owned(), position)) {
                self.refuse(id, name, Reason::NotUnique(2));
            }
            let plan = &mut self.module.plan;
            string(plan, arch, section, name);
            pointer(plan, arch, section, (placed, diff.patched[id].entry));
            number(plan, arch, section, position);
            count += 1;
        }
        count
    }

    /// Adds the callbacks of a pair to those of its kernel object.
    fn callbacks(&mut self, callbacks: &mut [Option<(Placed, u64)>; 4]) {
        let diff = self.pair.diff;
        for (id, have) in diff.wishes.callbacks.iter().zip(callbacks) {
            let Some(id): Option<BlockId> = *id else {
                continue;
            };
            if have.is_some() {
                let what = author::TWO_CALLBACKS.to_owned();
                self.refuse(id, diff.patched.name(id), Reason::Wishes(what));
            }
            *have = self
                .pair
                .placed(id)
                .map(|placed| (placed, diff.patched[id].entry));
        }
    }

    fn refuse_wish(&mut self, section: &str, what: String) {
        let refusal = Refusal {
            file: self.pair.diff.patched.source.to_owned(),
            section: section.to_owned(),
            symbol: section.to_owned(),
            change: None,
            reason: Reason::Wishes(what),
        };
        self.module.refusals.insert(refusal);
    }
}

/// Writes what the authors say of the whole patch: its states, and whether it replaces others.
fn wishes<'a>(pairs: &mut [Pair<'a, '_>], module: &mut Module<'a>) {
    let mut states: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut replace, mut arch) = (None, None);
    for pair in pairs {
        let diff = pair.diff;
        arch = arch.or(Some(diff.patched.arch));
        let mut write = Write {
            pair,
            module: &mut *module,
        };
        for &(id, version) in &diff.wishes.states {
            let before = states.insert(id, version);
            if before.is_some_and(|before| before != version) {
                let what = format!("two versions of the state {id:#x}");
                write.refuse_wish(author::STATES, what);
            }
        }
        let said = [diff.wishes.replace, write.pair.environment.replace];
        for wanted in said.into_iter().flatten() {
            if replace.is_some_and(|replace| replace != wanted) {
                write.refuse_wish(author::REPLACE, author::BOTH_WAYS.to_owned());
            }
            replace = Some(wanted);
        }
    }
    let (Some(arch), plan) = (arch, &mut module.plan) else {
        return;
    };
    if states.is_empty() && replace.is_none() {
        return;
    }
    // An initialisation that does not read these tables must not be linked with them.
    plan.undefined(author::READS_WISHES.to_owned());
    for (id, version) in states {
        let section = table(plan, ".init.klp_states");
        number(plan, arch, section, id);
        short(plan, arch, section, version);
        number(plan, arch, section, 0);
    }
    if let Some(replace) = replace {
        let section = table(plan, ".init.klp_replace");
        short(plan, arch, section, replace.into());
    }
}

/// Writes the module's information. What several pairs say is there once.
fn modinfo(pairs: &[Pair<'_, '_>], plan: &mut Plan) {
    let section = plan.section(".modinfo", Shape::data(elf::SectionFlags(0), 1));
    let namespaces = pairs.iter().flat_map(|pair| {
        let names = pair.diff.patched.namespaces.iter();
        names.map(|name| ("import_ns", *name))
    });
    let given = pairs.iter().flat_map(|pair| pair.environment.modinfo);
    let fields = [("livepatch", "Y")].into_iter().chain(namespaces);
    let mut seen = BTreeSet::new();
    for field in fields.chain(given.copied()) {
        if seen.insert(field) {
            let text = format!("{}={}\0", field.0, field.1);
            plan.append(section, text.as_bytes(), text.len() as u64, 1, 0);
        }
    }
}
