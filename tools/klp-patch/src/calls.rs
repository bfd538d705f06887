// SPDX-License-Identifier: GPL-2.0
//! Which function of the linked kernel calls which, as its code says. Calls through pointers are not
//! in it.

use anyhow::{Context as _, Result};
use klp_diff::arch::{self, Arch, Flow};
use object::elf::{FileHeader64, STT_FUNC};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::Endianness;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::Path;

/// A function of the linked kernel.
#[derive(Debug)]
struct Function {
    name: String,
    start: u64,
    end: u64,
    /// The functions that it calls, by their indices.
    calls: BTreeSet<usize>,
    /// The functions that it ends by jumping to.
    jumps: BTreeSet<usize>,
}

/// The calls in a linked kernel.
#[derive(Debug, Default)]
pub struct Calls {
    /// By address.
    functions: Vec<Function>,
    by_name: HashMap<String, Vec<usize>>,
}

/// An instruction of a function, as a stretch of a section.
struct Code<'d> {
    address: u64,
    bytes: &'d [u8],
}

impl Calls {
    /// Reads the linked kernel.
    pub fn read(image: &Path) -> Result<Self> {
        let name = image.display();
        let bytes = fs::read(image).with_context(|| format!("cannot read {name}"))?;
        Self::parse(&bytes).with_context(|| format!("{name} is no linked kernel"))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let arch = arch::of(bytes).context("the patch engine does not know its architecture")?;
        let sections = header.sections(endian, bytes)?;
        let mut code = Vec::new();
        for section in sections.iter() {
            let executable = section.sh_flags(endian).0 & object::elf::SHF_EXECINSTR.0 != 0;
            code.push(match executable {
                true => Some(Code {
                    address: section.sh_addr(endian),
                    bytes: section.data(endian, bytes)?,
                }),
                false => None,
            });
        }
        let symbols = sections.symbols(endian, bytes, object::elf::SHT_SYMTAB)?;
        let mut functions = Vec::new();
        for (index, symbol) in symbols.enumerate() {
            let section = symbols.symbol_section(endian, symbol, index)?;
            let in_code = section.is_some_and(|at| matches!(code.get(at.0), Some(Some(_))));
            let size = symbol.st_size(endian);
            if symbol.st_type() != STT_FUNC || size == 0 || !in_code {
                continue;
            }
            let start = symbol.st_value(endian);
            functions.push(Function {
                name: String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned(),
                start,
                end: start.saturating_add(size),
                calls: BTreeSet::new(),
                jumps: BTreeSet::new(),
            });
        }
        // Of several names of one function, the first keeps the calls.
        functions.sort_by_key(|function| (function.start, function.end));
        let mut calls = Self {
            by_name: HashMap::new(),
            functions,
        };
        for (index, function) in calls.functions.iter().enumerate() {
            let named = calls.by_name.entry(function.name.clone()).or_default();
            named.push(index);
        }
        let code: Vec<_> = code.into_iter().flatten().collect();
        for index in 0..calls.functions.len() {
            calls.follow(arch, &code, index);
        }
        Ok(calls)
    }

    /// Reads the code of a function.
    fn follow(&mut self, arch: &dyn Arch, code: &[Code<'_>], index: usize) {
        let Function { start, end, .. } = self.functions[index];
        let holds = |code: &&Code<'_>| {
            (code.address..code.address.saturating_add(code.bytes.len() as u64)).contains(&start)
        };
        let Some(code) = code.iter().find(holds) else {
            return;
        };
        let (first, last) = (
            (start - code.address) as usize,
            (end - code.address) as usize,
        );
        let bytes = code.bytes.get(..last).unwrap_or(code.bytes);
        let mut at = first;
        while let Some(instruction) = arch.decode(bytes, at) {
            let address = code.address + at as u64;
            let target = |distance: i64| self.at(address.wrapping_add_signed(distance));
            match instruction.flow {
                Flow::Call(to) => {
                    if let Some(to) = target(to) {
                        self.functions[index].calls.insert(to);
                    }
                }
                Flow::Jump(to) if !(start..end).contains(&address.wrapping_add_signed(to)) => {
                    if let Some(to) = target(to) {
                        self.functions[index].jumps.insert(to);
                    }
                }
                _ => {}
            }
            at += instruction.size.max(1);
            if at >= last {
                break;
            }
        }
    }

    /// Returns the function that has this address.
    fn at(&self, address: u64) -> Option<usize> {
        let next = self
            .functions
            .partition_point(|function| function.start <= address);
        let before = self.functions.get(..next)?;
        let index = before.iter().rposition(|function| address < function.end)?;
        // A part that was split from a function is the function.
        Some(index)
    }

    /// Returns how calls lead from a function to one of `goals`, the shortest way, over no function of
    /// `rare`.
    pub fn path(&self, from: &str, goals: &[&str], rare: &[&str]) -> Option<Vec<&str>> {
        let mut before: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        let mut todo = VecDeque::new();
        for &index in self.by_name.get(from)? {
            before.insert(index, None);
            todo.push_back(index);
        }
        while let Some(index) = todo.pop_front() {
            let function = &self.functions[index];
            if goals.contains(&&*function.name) {
                let mut path = vec![&*function.name];
                let mut at = index;
                while let Some(&Some(previous)) = before.get(&at) {
                    path.push(&self.functions[previous].name);
                    at = previous;
                }
                path.reverse();
                return Some(path);
            }
            for &next in function.calls.iter().chain(&function.jumps) {
                if !before.contains_key(&next) && !rare.contains(&&*self.functions[next].name) {
                    before.insert(next, Some(index));
                    todo.push_back(next);
                }
            }
        }
        None
    }

    /// Returns the functions that a function calls itself.
    pub fn called(&self, from: &str) -> BTreeSet<&str> {
        self.names(from, |function| &function.calls)
    }

    /// Returns the functions that a function ends by jumping to, so that it is on no stack meanwhile.
    pub fn jumped_to(&self, from: &str) -> BTreeSet<&str> {
        let parts = |name: &&str| !name.starts_with(from);
        self.names(from, |function| &function.jumps)
            .into_iter()
            .filter(parts)
            .collect()
    }

    fn names(&self, from: &str, which: fn(&Function) -> &BTreeSet<usize>) -> BTreeSet<&str> {
        let own = self.by_name.get(from).into_iter().flatten();
        let others = own.flat_map(|&index| which(&self.functions[index]));
        others.map(|&other| &*self.functions[other].name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, StandardSection, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, SymbolFlags, SymbolKind, SymbolScope};

    /// Returns an image with functions of 16 bytes each: its name, and its code.
    fn image(functions: &[(&str, &[u8])]) -> Vec<u8> {
        let mut object = Object::new(
            BinaryFormat::Elf,
            Architecture::X86_64,
            object::Endianness::Little,
        );
        let text = object.section_id(StandardSection::Text);
        for (name, code) in functions {
            let mut code = code.to_vec();
            code.resize(16, 0x90);
            let value = object.append_section_data(text, &code, 16);
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value,
                size: 16,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Section(text),
                flags: SymbolFlags::None,
            });
        }
        object.write().unwrap()
    }

    #[test]
    fn calls_and_jumps_lead_from_function_to_function() {
        let bytes = image(&[
            // call two
            ("one", &[0xe8, 11, 0, 0, 0, 0xc3]),
            // jmp three
            ("two", &[0xe9, 11, 0, 0, 0]),
            // a jump inside
            ("three", &[0xeb, 0, 0xc3]),
        ]);
        let calls = Calls::parse(&bytes).unwrap();
        assert_eq!(calls.called("one"), ["two"].into());
        assert_eq!(calls.jumped_to("two"), ["three"].into());
        assert!(calls.jumped_to("three").is_empty() && calls.called("none").is_empty());
        let path = calls.path("one", &["three"], &[]).unwrap();
        assert_eq!(path, ["one", "two", "three"]);
        assert_eq!(calls.path("one", &["three"], &["two"]), None);
        assert_eq!(calls.path("three", &["one"], &[]), None);
    }
}
