// SPDX-License-Identifier: GPL-2.0
//! Cuts sections into blocks: at symbols where they have sizes, else at what is referred to.

use crate::error::{Error, Input, Reason, Refusal};
use crate::graph::{Block, BlockId, Kind, Section, Symbol};
use crate::names;
use crate::read::{Place, Raw, RawRelocation, RawSymbol};
use crate::resolve::Places;
use crate::section::Role;
use crate::special::Entries;
use object::elf;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A part of a section that symbols with a size cover.
struct Span<'d> {
    start: u64,
    end: u64,
    symbols: Vec<Symbol<'d>>,
}

/// The blocks of an object, and which block each symbol with a size is in.
pub struct Cut<'d> {
    /// All blocks, without their references.
    pub blocks: Vec<Block<'d>>,
    /// The blocks of each section, in the order of their addresses.
    pub by_section: Vec<Vec<BlockId>>,
    /// Block of each such symbol, by the symbol's index.
    pub by_symbol: BTreeMap<usize, BlockId>,
}

/// Cuts all sections.
pub fn cut<'d>(input: Input, raw: &Raw<'d>, places: &Places) -> Result<Cut<'d>, Error> {
    let mut cut = Cut {
        blocks: Vec::new(),
        by_section: Vec::new(),
        by_symbol: BTreeMap::new(),
    };
    let mut named = symbols(input, raw)?;
    for (index, section) in raw.sections.iter().enumerate() {
        let first = cut.blocks.len();
        let symbols = named.remove(&index).unwrap_or_default();
        let none = BTreeSet::new();
        let referred = places.referred.get(index).unwrap_or(&none);
        let pieces = match section.role {
            Role::Ignored | Role::Sites => Vec::new(),
            Role::Strings => strings(section),
            Role::Constants => fixed(section, section.entry_size.max(1)),
            Role::Operands => fixed(section, 8),
            Role::Special(special) => match size_of(raw, index, special.entries) {
                Ok(None) => at_places(0, section.size, referred),
                Ok(Some(size)) => fixed(section, size),
                Err(size) => {
                    return Err(Error::Refused(vec![Refusal {
                        file: source(raw).to_owned(),
                        section: section.name.to_owned(),
                        symbol: section.name.to_owned(),
                        change: None,
                        reason: Reason::EntrySize(size),
                    }]))
                }
            },
            _ => Vec::new(),
        };
        let kind = match section.role {
            Role::Special(_) => Kind::Entry,
            _ => Kind::Data,
        };
        cut.blocks.extend(
            pieces
                .iter()
                .map(|&(start, end)| block(index, section, start, end, kind)),
        );
        if pieces.is_empty() && !matches!(section.role, Role::Ignored | Role::Sites) {
            cut.blocks
                .extend(spans_and_gaps(index, section, &symbols, referred));
        }
        let new = first..cut.blocks.len();
        cut.by_section.push(new.map(BlockId).collect());
    }
    index_symbols(raw, &mut cut);
    Ok(cut)
}

/// Returns the size of a special section's entries, which its relocations show, or nothing if it is
/// cut otherwise. The error is the size of the smallest entry that there may be.
fn size_of(raw: &Raw<'_>, index: usize, entries: Entries) -> Result<Option<u64>, u64> {
    let size = raw.sections.get(index).map_or(0, |section| section.size);
    match entries {
        Entries::Pieces => Ok(None),
        Entries::Sized(sizes, first) => {
            let fits =
                |candidate: &&u64| size == 0 || is_table(raw, index, size, **candidate, first);
            let smallest = sizes.first().copied().unwrap_or(1);
            sizes.iter().find(fits).copied().map(Some).ok_or(smallest)
        }
        Entries::Beside(other, width) => {
            let other = raw.sections.iter().find(|section| section.name == other);
            let count = other.map_or(0, |section| section.size / width.max(1));
            let each = size.checked_div(count).unwrap_or(0);
            match each.checked_mul(count) == Some(size) && (each > 0 || size == 0) {
                true => Ok(Some(each.max(1))),
                false => Err(1),
            }
        }
    }
}

/// Whether a section is a table of entries of this size: each of them starts with a reference to
/// code. The last entry may lack padding.
fn is_table(raw: &Raw<'_>, index: usize, size: u64, each: u64, first: u64) -> bool {
    let relocations = raw
        .relocations
        .get(index)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let to_code = |relocation: &RawRelocation| {
        let Some(Place::Section(at)) = raw
            .symbols
            .get(relocation.symbol)
            .map(|symbol| symbol.place)
        else {
            return false;
        };
        raw.sections.get(at).is_some_and(Section::is_executable)
    };
    let leads = |start: u64| {
        let at = start.saturating_add(first);
        let found = relocations.binary_search_by_key(&at, |relocation| relocation.offset);
        found.is_ok_and(|found| relocations.get(found).is_some_and(to_code))
    };
    let padding = size.next_multiple_of(each).saturating_sub(size);
    let each_step = usize::try_from(each).unwrap_or(usize::MAX).max(1);
    let marks = size / each <= relocations.len() as u64;
    padding < 8
        && padding < each.saturating_sub(first)
        && marks
        && (0..size).step_by(each_step).all(leads)
}

/// Returns the symbols that name blocks, by their section.
fn symbols<'d>(
    input: Input,
    raw: &Raw<'d>,
) -> Result<BTreeMap<usize, Vec<(u64, Symbol<'d>)>>, Error> {
    let mut named: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for symbol in raw.symbols.iter().filter(|symbol| names_block(raw, symbol)) {
        let Place::Section(index) = symbol.place else {
            continue;
        };
        let end = symbol.value.checked_add(symbol.size);
        let size = raw.sections.get(index).map(|section| section.size);
        if end.is_none() || end > size {
            let what = format!("`{}` is not inside its section", symbol.name);
            return Err(Error::Malformed { input, what });
        }
        named.entry(index).or_default().push((
            symbol.value,
            Symbol {
                name: symbol.name,
                offset: 0,
                size: symbol.size,
                bind: symbol.bind,
                kind: symbol.kind,
                other: symbol.other,
            },
        ));
    }
    Ok(named)
}

/// Whether a symbol names a block.
fn names_block(raw: &Raw<'_>, symbol: &RawSymbol<'_>) -> bool {
    let typed = matches!(symbol.kind, elf::STT_FUNC | elf::STT_OBJECT | elf::STT_TLS);
    let global = symbol.bind != elf::STB_LOCAL && symbol.kind == elf::STT_NOTYPE;
    (typed || global) && !symbol.name.is_empty() && !raw.arch.is_mapping_symbol(symbol.name)
}

/// Whether a symbol names what stands before a function: padding for the tracer, or the hash of its
/// type.
pub fn is_prefix(name: &str) -> bool {
    name.starts_with("__pfx_") || name.starts_with("__cfi_")
}

fn spans_and_gaps<'d>(
    index: usize,
    section: &Section<'d>,
    symbols: &[(u64, Symbol<'d>)],
    referred: &BTreeSet<u64>,
) -> Vec<Block<'d>> {
    let code = section.is_executable();
    let mut blocks = Vec::new();
    let mut end = 0;
    for span in spans(symbols) {
        let mut start = span.start;
        let prefixed = code && is_prefix_gap(section, &span, end, referred);
        if prefixed {
            start = end;
        } else {
            gap(index, section, end, span.start, referred, &mut blocks);
        }
        let function = span
            .symbols
            .iter()
            .any(|symbol| symbol.kind == elf::STT_FUNC);
        let kind = if function { Kind::Function } else { Kind::Data };
        let mut block = block(index, section, start, span.end, kind);
        block.entry = span.start.saturating_sub(start);
        block.symbols = span.symbols;
        for symbol in &mut block.symbols {
            symbol.offset = symbol.offset.saturating_sub(start);
        }
        block.private |= kind == Kind::Data && is_private(section, &block);
        end = span.end;
        blocks.push(block);
    }
    gap(index, section, end, section.size, referred, &mut blocks);
    blocks
}

/// Whether the bytes before a function belong to it.
fn is_prefix_gap(
    section: &Section<'_>,
    span: &Span<'_>,
    end: u64,
    referred: &BTreeSet<u64>,
) -> bool {
    let before = |symbol: &Symbol<'_>| symbol.offset < span.start || is_prefix(symbol.name);
    // Unwind tables refer to it too.
    let named = |symbol: &Symbol<'_>| {
        let named_end = symbol.offset.saturating_add(symbol.size);
        is_prefix(symbol.name) && symbol.offset >= end && named_end == span.start
    };
    let referred = referred.range(end..span.start).next().is_some();
    let alone = end == 0 && !section.name.starts_with(".init") && span.start < 64;
    let has = |is: &dyn Fn(&Symbol<'_>) -> bool| span.symbols.iter().any(is);
    end < span.start && (has(&named) || !referred && (alone || has(&before)))
}

/// Merges symbols that overlap. A span's name is that of its first and largest symbol. The offsets
/// of the symbols are those in the section.
fn spans<'d>(symbols: &[(u64, Symbol<'d>)]) -> Vec<Span<'d>> {
    let mut sorted: Vec<_> = symbols.to_vec();
    sorted.sort_by_key(|(start, symbol)| (*start, Reverse(symbol.size), symbol.name));
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut prefixes = Vec::new();
    for (start, mut symbol) in sorted {
        symbol.offset = start;
        if is_prefix(symbol.name) {
            prefixes.push(symbol);
            continue;
        }
        let end = start.saturating_add(symbol.size);
        match spans.last_mut() {
            Some(last) if start < last.end || start == last.start => {
                last.end = last.end.max(end);
                last.symbols.push(symbol);
            }
            _ => spans.push(Span {
                start,
                end,
                symbols: vec![symbol],
            }),
        }
    }
    for prefix in prefixes {
        let next = spans.partition_point(|span| span.start <= prefix.offset);
        if let Some(span) = spans.get_mut(next) {
            span.symbols.push(prefix);
        }
    }
    spans
}

/// Cuts a part of a section that no symbol covers.
fn gap<'d>(
    index: usize,
    section: &Section<'d>,
    start: u64,
    end: u64,
    referred: &BTreeSet<u64>,
    blocks: &mut Vec<Block<'d>>,
) {
    if start >= end {
        return;
    }
    let code = section.is_executable();
    let first = referred.range(start..end).next().copied();
    let bytes = slice(section, start, first.unwrap_or(end));
    let padding = bytes.iter().all(|&byte| byte == 0);
    let from = match first {
        _ if !code && (!padding || start == 0) => start,
        Some(first) => first,
        None => return,
    };
    for (start, end) in at_places(from, end, referred) {
        let mut block = block(index, section, start, end, Kind::Data);
        block.private |= code || section.role.is_constant();
        blocks.push(block);
    }
}

/// Cuts a part of a section at the places that are referred to.
fn at_places(start: u64, end: u64, referred: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut cuts: Vec<u64> = vec![start];
    let inside = start.saturating_add(1)..end.max(start.saturating_add(1));
    cuts.extend(referred.range(inside));
    let ends = cuts.iter().copied().skip(1).chain([end]);
    let pieces = cuts.iter().copied().zip(ends.collect::<Vec<_>>());
    pieces.filter(|(start, end)| start < end).collect()
}

fn fixed(section: &Section<'_>, size: u64) -> Vec<(u64, u64)> {
    let step = usize::try_from(size.max(1)).unwrap_or(usize::MAX);
    // The size in the header bounds nothing: a section without bytes may claim any.
    let size_in_file = section.bytes.len() as u64;
    let starts = (0..size_in_file).step_by(step);
    starts
        .map(|start| (start, start.saturating_add(size).min(size_in_file)))
        .collect()
}

fn strings(section: &Section<'_>) -> Vec<(u64, u64)> {
    let width = usize::try_from(section.entry_size).unwrap_or(1).clamp(1, 4);
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    for unit in section.bytes.chunks(width) {
        at += unit.len() as u64;
        if unit.iter().all(|&byte| byte == 0) {
            pieces.push((start, at));
            start = at;
        }
    }
    if start < at {
        pieces.push((start, at));
    }
    pieces
}

fn block<'d>(index: usize, section: &Section<'d>, start: u64, end: u64, kind: Kind) -> Block<'d> {
    Block {
        section: index,
        start,
        size: end.saturating_sub(start),
        entry: 0,
        bytes: slice(section, start, end),
        kind,
        private: section.role.is_private(),
        symbols: Vec::new(),
        references: Vec::new(),
        site: None,
        unknown: None,
    }
}

fn slice<'d>(section: &Section<'d>, start: u64, end: u64) -> &'d [u8] {
    let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(0);
    section.bytes.get(range).unwrap_or_default()
}

/// Whether a variable belongs to the code that uses it.
fn is_private(section: &Section<'_>, block: &Block<'_>) -> bool {
    let local = block.symbols.iter().all(|symbol| !symbol.is_global());
    let by_name = |symbol: &Symbol<'_>| {
        names::is_private(symbol.name)
            || section.role.is_constant()
                && names::is_static_local(symbol.name)
                && is_plain(section)
    };
    local && section.role != Role::Initialisation && block.symbols.first().is_some_and(by_name)
}

/// Whether a section holds plain constants: no pointers, so that nothing cares where they are.
fn is_plain(section: &Section<'_>) -> bool {
    section.name.starts_with(".rodata") && section.flags.0 & elf::SHF_WRITE.0 == 0
}

fn index_symbols(raw: &Raw<'_>, cut: &mut Cut<'_>) {
    for (number, symbol) in raw.symbols.iter().enumerate() {
        let Place::Section(index) = symbol.place else {
            continue;
        };
        if !names_block(raw, symbol) {
            continue;
        }
        let Some(blocks) = cut.by_section.get(index) else {
            continue;
        };
        let next = blocks.partition_point(|&BlockId(id)| {
            cut.blocks
                .get(id)
                .is_some_and(|block| block.start <= symbol.value)
        });
        let before = blocks.get(..next).unwrap_or_default().iter().rev();
        let named = |id: &&BlockId| {
            let block = cut.blocks.get(id.0);
            block.is_some_and(|block| block.symbols.iter().any(|own| own.name == symbol.name))
        };
        if let Some(&id) = before.clone().find(named) {
            cut.by_symbol.insert(number, id);
        }
    }
}

/// Returns the source file that the symbol table names.
pub fn source<'d>(raw: &Raw<'d>) -> &'d str {
    let file = raw
        .symbols
        .iter()
        .find(|symbol| symbol.kind == elf::STT_FILE);
    file.map_or("unknown source", |symbol| symbol.name)
}
