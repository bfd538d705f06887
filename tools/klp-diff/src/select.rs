// SPDX-License-Identifier: GPL-2.0
//! Selects what goes into the module, and refuses what can't.

use crate::author::Wishes;
use crate::compare::{Comparison, Difference};
use crate::correlate::Correlation;
use crate::error::{Error, Reason, Refusal};
use crate::graph::{BlockId, Kind, Object, Reference, Target};
use crate::names;
use crate::runtime;
use crate::section::Role;
use crate::special::Fields;
use crate::Environment;
use std::collections::{BTreeMap, BTreeSet};

/// What goes into the module, by blocks of the patched object.
#[derive(Debug, Default)]
pub struct Selection {
    /// The functions that replace others, with why.
    pub changed: BTreeMap<BlockId, Difference>,
    /// The functions that the original does not have.
    pub new: BTreeSet<BlockId>,
    /// All blocks: functions, new data, private data, entries of special sections.
    pub included: BTreeSet<BlockId>,
}

/// The state of the selection.
struct Select<'a, 'd> {
    original: &'a Object<'d>,
    patched: &'a Object<'d>,
    pairs: &'a Correlation,
    comparison: &'a Comparison<'a, 'd>,
    environment: &'a Environment<'a>,
    out: Selection,
    refusals: BTreeSet<Refusal>,
    wishes: &'a Wishes,
}

/// Selects the blocks of the module.
pub fn select<'d>(
    original: &Object<'d>,
    patched: &Object<'d>,
    pairs: &Correlation,
    comparison: &Comparison<'_, 'd>,
    wishes: &Wishes,
    environment: &Environment<'_>,
) -> Result<Selection, Error> {
    let mut select = Select {
        original,
        patched,
        pairs,
        comparison,
        environment,
        out: Selection::default(),
        refusals: BTreeSet::new(),
        wishes,
    };
    select.changes()?;
    select.check_changed();
    for (section, what) in &wishes.contradictions {
        select.refusals.insert(Refusal {
            file: patched.source.to_owned(),
            section: (*section).to_owned(),
            symbol: (*section).to_owned(),
            change: None,
            reason: Reason::Wishes(what.clone()),
        });
    }
    let mut roots: Vec<_> = select.out.changed.keys().copied().collect();
    roots.extend(select.new_globals());
    roots.extend(wishes.callbacks.iter().flatten());
    if roots.is_empty() && select.refusals.is_empty() {
        return Err(Error::NothingChanged);
    }
    roots.into_iter().for_each(|id| select.include(id));
    select.check_included();
    match select.refusals.is_empty() {
        true => Ok(select.out),
        false => Err(Error::Refused(select.refusals.into_iter().collect())),
    }
}

/// Returns whether a reference from the module stays with the original block, also where the module
/// has a new version of it: pointers must be those that the kernel has, calls take the short way.
pub fn stays_outside(
    object: &Object<'_>,
    pairs: &Correlation,
    selection: &Selection,
    from: BlockId,
    reference: &Reference<'_>,
) -> bool {
    let Target::Block(id, offset) = reference.target else {
        return false;
    };
    let has_original = pairs.original(id).is_some();
    // Entries of special sections and jump tables are about the code, not pointers to functions.
    let pointer = selection.changed.contains_key(&id)
        && names::parent(object.name(id)).is_none()
        && object[id].kind == Kind::Function
        && offset == object[id].entry as i64
        && object[from].kind != Kind::Entry
        && !reference.branch;
    has_original && (pointer || !selection.included.contains(&id))
}

impl Select<'_, '_> {
    fn refuse(&mut self, id: BlockId, reason: Reason) {
        let change = self.out.changed.get(&id).cloned();
        self.refuse_change(id, change, reason);
    }

    fn refuse_change(&mut self, id: BlockId, change: Option<Difference>, reason: Reason) {
        let section = self.patched.section(id).name;
        let reason = match reason {
            Reason::UnknownSection if runtime::is_list(section) => Reason::RuntimeConstant,
            reason => reason,
        };
        self.refusals.insert(Refusal {
            file: self.patched.source.to_owned(),
            section: section.to_owned(),
            symbol: self.patched.name(id).to_owned(),
            change,
            reason,
        });
    }

    /// Finds the functions that changed, and refuses changed data.
    fn changes(&mut self) -> Result<(), Error> {
        let referrers = self.patched.referrers(|_, _| true);
        let ignored = &self.wishes.ignored;
        let mut constants = Vec::new();
        for (one, other) in self
            .pairs
            .pairs()
            .filter(|(_, other)| !ignored.contains(other))
        {
            let Some(difference) = self.comparison.difference(one, other)? else {
                continue;
            };
            if self.patched[other].kind == Kind::Function {
                self.out.changed.insert(other, difference);
            } else if self.is_constant(other) {
                constants.push(other);
            } else if self.patched.section(other).role != Role::Wishes {
                self.refuse_data(other, difference);
            }
        }
        // Who uses a changed constant is changed: it gets a new one.
        let mut seen = BTreeSet::new();
        while let Some(constant) = constants.pop() {
            if !seen.insert(constant) {
                continue;
            }
            let name = self.patched.name(constant).to_owned();
            for user in self.patched.users(&referrers, constant) {
                if self.patched[user].kind == Kind::Function {
                    let why = Difference::Constant(name.clone());
                    if self.pairs.original(user).is_some() {
                        self.out.changed.entry(user).or_insert(why);
                    }
                } else if self.is_constant(user) {
                    constants.push(user);
                } else if self.patched.section(user).role == Role::Wishes {
                } else if self.pairs.original(user).is_some() {
                    let by = self.patched.name(user).to_owned();
                    self.refuse(constant, Reason::ReachedFromData(by));
                }
            }
            self.out.included.insert(constant);
        }
        self.parents_of_parts();
        Ok(())
    }

    /// A part that was split from a function has no patch site of its own: the function changes.
    fn parents_of_parts(&mut self) {
        let parts: Vec<_> = self.out.changed.keys().copied().collect();
        for part in parts {
            let name = self.patched.name(part);
            let Some(parent) = names::parent(name) else {
                continue;
            };
            let is_parent = |id: &BlockId| {
                let function = self.patched[*id].kind == Kind::Function;
                function
                    && self.patched[*id]
                        .symbols
                        .iter()
                        .any(|symbol| symbol.name == parent)
            };
            let has_original = |id: &BlockId| self.pairs.original(*id).is_some();
            if let Some(parent) = self.patched.ids().filter(has_original).find(is_parent) {
                let why = Difference::Part(name.to_owned());
                self.out.changed.entry(parent).or_insert(why);
            }
        }
    }

    /// Returns what is new and what other objects of the patch may use.
    fn new_globals(&self) -> Vec<BlockId> {
        let new = |id: &BlockId| {
            let section = self.patched.section(*id);
            let runs =
                section.role.is_code() || matches!(section.role, Role::Data | Role::ReadOnly);
            let marker = self.patched.name(*id).starts_with("__UNIQUE_ID_");
            self.patched.is_global(*id) && self.pairs.original(*id).is_none() && runs && !marker
        };
        self.patched.ids().filter(new).collect()
    }

    /// Whether a block of the patched object is constant data that no other object sees.
    fn is_constant(&self, id: BlockId) -> bool {
        self.patched.section(id).role.is_constant() && !self.patched.is_global(id)
    }

    fn refuse_data(&mut self, id: BlockId, difference: Difference) {
        let reason = match self.patched.section(id).role {
            Role::Initialisation => Reason::Initialisation,
            Role::Data | Role::ReadOnly | Role::Places | Role::Constants | Role::Strings => {
                match difference {
                    Difference::Size => Reason::SizeChanged,
                    _ => Reason::DataChanged,
                }
            }
            _ => Reason::UnknownSection,
        };
        self.refuse_change(id, Some(difference), reason);
    }

    /// Refuses the changed functions that can't be replaced.
    fn check_changed(&mut self) {
        let changed: Vec<_> = self.out.changed.keys().copied().collect();
        for id in changed {
            let original = self.pairs.original(id);
            let section = self.patched.section(id);
            match section.role {
                Role::Code => {}
                Role::Initialisation => self.refuse(id, Reason::Initialisation),
                Role::UntraceableCode => self.refuse(id, Reason::NotPatchable),
                _ => self.refuse(id, Reason::UnknownSection),
            }
            if self.patched.section(id).grouped {
                self.refuse(id, Reason::Group);
            }
            let part = names::parent(self.patched.name(id)).is_some();
            let site = original.is_some_and(|id| has_site(self.original, id));
            if !part && !site && self.patched.section(id).role == Role::Code {
                self.refuse(id, Reason::NoPatchSite);
            }
        }
    }

    /// Includes a block, and what it needs.
    fn include(&mut self, id: BlockId) {
        let mut todo = vec![id];
        // Changed constants are there already, but what they need is not.
        let mut seen = BTreeSet::new();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            self.out.included.insert(id);
            if self.patched[id].kind == Kind::Function {
                if !self.out.changed.contains_key(&id) && self.pairs.original(id).is_none() {
                    self.out.new.insert(id);
                }
                todo.extend(
                    self.comparison
                        .entries(id)
                        .iter()
                        .filter(|&&id| self.is_kept(id)),
                );
            }
            for reference in &self.patched[id].references {
                let Target::Block(to, _) = reference.target else {
                    continue;
                };
                if to != id && self.is_needed(to) {
                    todo.push(to);
                }
            }
        }
    }

    /// Whether the module needs its own version of what something in it refers to.
    fn is_needed(&self, id: BlockId) -> bool {
        let block = &self.patched[id];
        let part = block.kind == Kind::Function && names::parent(self.patched.name(id)).is_some();
        block.private
            || part
            || self.pairs.original(id).is_none()
            || self.out.changed.contains_key(&id)
            || self.out.included.contains(&id)
    }

    /// Whether an entry of a special section goes with its function. What only makes a message or a
    /// trace appear is left out where its key is in a module.
    fn is_kept(&self, entry: BlockId) -> bool {
        let Role::Special(special) = self.patched.section(entry).role else {
            return false;
        };
        let Fields::Key { index } = special.fields else {
            return true;
        };
        !self.key(entry, index).is_some_and(|(_, harmless)| harmless)
    }

    /// Returns the key of an entry if it is in a module that may not be there, and whether it is
    /// harmless. The kernel's own keys are always there.
    fn key(&self, entry: BlockId, index: usize) -> Option<(String, bool)> {
        self.environment.module?;
        let of_kernel = |name| {
            let exports = self.environment.exports;
            exports.and_then(|exports| exports.exporter(name)) == Some("vmlinux")
        };
        let reference = self.patched[entry].references.get(index)?;
        let name = match reference.target {
            Target::External(name) if of_kernel(name) => return None,
            Target::External(name) => name,
            Target::Block(id, _) if self.patched[id].private => return None,
            Target::Block(id, _) => {
                self.pairs.original(id)?;
                self.patched.name(id)
            }
            _ => return None,
        };
        let harmless = name.starts_with("__tracepoint_") || name.starts_with("__SCK__tp_func_");
        Some((name.to_owned(), harmless))
    }

    /// Refuses what must not be in a module.
    fn check_included(&mut self) {
        self.check_unknown();
        let included: Vec<_> = self.out.included.iter().copied().collect();
        for id in included {
            let block = &self.patched[id];
            let section = self.patched.section(id);
            let unknown = block
                .references
                .iter()
                .find(|reference| self.patched.arch.relocation(reference.kind).is_none());
            if let Some(reference) = unknown {
                self.refuse(id, Reason::UnknownRelocation(reference.kind.0));
            }
            if let Some(at) = block.unknown {
                self.refuse(id, Reason::UnknownCode(at));
            }
            if section.grouped {
                self.refuse(id, Reason::Group);
            }
            match section.role {
                Role::Initialisation => self.refuse(id, Reason::Initialisation),
                Role::Other | Role::Ignored | Role::Sites | Role::Wishes => {
                    self.refuse(id, Reason::UnknownSection)
                }
                Role::UntraceableCode => self.refuse(id, Reason::NotPatchable),
                Role::Special(special) => self.check_key(id, special.fields),
                _ => {}
            }
            let doubtful = self.pairs.doubtful.get(&id);
            if let Some(&one) = doubtful {
                let one = self.original.name(one).to_owned();
                self.refuse(id, Reason::Ambiguous(one));
            }
            self.check_references(id);
            if block.kind == Kind::Function {
                let leaves = |reference: &Reference<'_>| match reference.target {
                    Target::External(_) => true,
                    _ => stays_outside(self.patched, self.pairs, &self.out, id, reference),
                };
                if let Some((why, remedy)) = self.patched.arch.objection(block, &leaves) {
                    self.refuse(id, Reason::Architecture(why, remedy));
                }
            }
        }
    }

    /// Refuses what refers to the inside of a function in the module, and is in an unknown section: it
    /// describes code, such as instructions that the kernel writes to at boot. Pointers to the start
    /// of a function are the kernel's.
    fn check_unknown(&mut self) {
        let describes = |id: &BlockId| {
            let mut references = self.patched[*id].references.iter();
            self.patched.section(*id).role == Role::Other
                && references.any(|reference| match reference.target {
                    Target::Block(to, offset) => {
                        self.patched[to].kind == Kind::Function
                            && offset != self.patched[to].entry as i64
                            && self.out.included.contains(&to)
                    }
                    _ => false,
                })
        };
        let unknown: Vec<_> = self.patched.ids().filter(describes).collect();
        for id in unknown {
            self.refuse(id, Reason::UnknownSection);
        }
    }

    /// References must be to what the module has, or to what can be found by its name.
    fn check_references(&mut self, id: BlockId) {
        for reference in &self.patched[id].references {
            match reference.target {
                Target::Section(at, _) => {
                    let ignored = self.patched.sections.get(at).map(|section| section.role);
                    if ignored != Some(Role::Sites) {
                        return self.refuse(id, Reason::UnknownCode(reference.offset));
                    }
                }
                Target::Block(to, _)
                    if stays_outside(self.patched, self.pairs, &self.out, id, reference)
                        && self.patched[to].symbols.is_empty() =>
                {
                    return self.refuse(to, Reason::UnknownSection);
                }
                _ => {}
            }
        }
    }

    /// Keys in modules are not safe: the module may come after the live patch.
    fn check_key(&mut self, id: BlockId, fields: Fields) {
        let Fields::Key { index } = fields else {
            return;
        };
        if let Some((key, _)) = self.key(id, index) {
            self.refuse(id, Reason::KeyInModule(key));
        }
    }
}

/// Whether the tracer can take over a function at its entry.
pub fn has_site(object: &Object<'_>, id: BlockId) -> bool {
    object[id].site.is_some() || object.arch.has_patch_site(&object[id])
}
