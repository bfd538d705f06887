// SPDX-License-Identifier: GPL-2.0
//! Finds the bytes that hold line numbers.
//!
//! A line moves when something above it changes, and means nothing to what runs. Numbers of lines
//! are found by how they are passed: next to the name of a source file, or to a function whose
//! argument is known to be one.

use crate::arch::{Flow, Instruction};
use crate::code;
use crate::graph::{Block, BlockId, Kind, Object, Target};
use crate::section::Role;
use crate::special::Fields;
use std::ops::Range;

/// Functions that take a line, and which argument it is, counted from 0.
const TAKERS: &[(&str, u8)] = &[
    ("___might_sleep", 1),
    ("__might_sleep", 1),
    ("__might_resched", 1),
    ("__might_fault", 1),
    ("__cant_sleep", 1),
    ("__cant_migrate", 1),
    ("lockdep_rcu_suspicious", 1),
    ("warn_slowpath_fmt", 1),
    ("warn_slowpath_fmt_taint", 1),
    ("warn_slowpath_null", 1),
    ("__btrfs_abort_transaction", 2),
    ("__btrfs_handle_fs_error", 2),
    ("__btrfs_panic", 2),
];

/// How many instructions before a call set its arguments.
const WINDOW: usize = 24;

/// Returns the ranges of bytes of two versions of a block that hold line numbers in both.
pub fn lines(
    before: &Object<'_>,
    one: BlockId,
    after: &Object<'_>,
    other: BlockId,
) -> Vec<Range<u64>> {
    let (a, b) = (&before[one], &after[other]);
    if a.bytes == b.bytes {
        return Vec::new();
    }
    if a.kind == Kind::Function {
        return match in_code(before, a, b) {
            Some(candidates) => {
                let taken = |object: &Object<'_>, block: &Block<'_>, at| is_line(object, block, at);
                let both = candidates
                    .into_iter()
                    .filter(|&(at, _)| taken(before, a, at) && taken(after, b, at));
                both.map(|(at, size)| at as u64..(at + size) as u64)
                    .collect()
            }
            None => Vec::new(),
        };
    }
    match after.section(other).role {
        Role::Special(special) if special.fields == Fields::Line => {
            in_bug_entry(after, b).into_iter().collect()
        }
        _ if b.private => in_description(after, other),
        _ => Vec::new(),
    }
}

/// Returns the instructions that load another immediate into the same argument, if nothing else in
/// the code differs in its structure.
fn in_code(object: &Object<'_>, a: &Block<'_>, b: &Block<'_>) -> Option<Vec<(usize, usize)>> {
    let entry = usize::try_from(a.entry).ok()?;
    let (x, y) = (a.bytes.get(entry..)?, b.bytes.get(entry..)?);
    let mut found = Vec::new();
    let both = code::instructions(object.arch, x).zip(code::instructions(object.arch, y));
    for ((at, one), (_, other)) in both {
        if one.size != other.size {
            return None;
        }
        let range = at..at.checked_add(one.size)?;
        let same = x.get(range.clone()) == y.get(range);
        let loads = one.immediate && other.immediate && one.argument == other.argument;
        if !same && loads && one.argument.is_some() {
            found.push((entry.checked_add(at)?, one.size));
        }
    }
    Some(found)
}

/// Whether the immediate that the instruction at `at` loads is passed as a line.
fn is_line(object: &Object<'_>, block: &Block<'_>, at: usize) -> bool {
    let Ok(entry) = usize::try_from(block.entry) else {
        return false;
    };
    let code = block.bytes.get(entry..).unwrap_or_default();
    let mut window: Vec<(usize, Instruction)> = Vec::new();
    for (from, instruction) in code::instructions(object.arch, code) {
        let from = from.saturating_add(entry);
        let reference = reference(block, from, instruction.size);
        // A call out of this function leaves it with a relocation, also where it is a jump.
        let called = reference.and_then(|at| match block.references.get(at)?.target {
            Target::External(name) => Some(name),
            Target::Block(id, _) if object[id].kind == Kind::Function => Some(object.name(id)),
            _ => None,
        });
        let calls = matches!(instruction.flow, Flow::Call(_))
            || instruction.flow != Flow::Next && called.is_some();
        if calls && from > at {
            return is_line_argument(object, block, &window, at, called);
        }
        match instruction.flow {
            // The way to the call leads through jumps that the compiler put between.
            Flow::Call(_) => window.clear(),
            _ => window.push((from, instruction)),
        }
        if from > at && window.iter().filter(|(from, _)| *from > at).count() > WINDOW {
            return false;
        }
    }
    false
}

/// Whether the argument that the instruction at `at` sets is a line for the function called.
fn is_line_argument(
    object: &Object<'_>,
    block: &Block<'_>,
    window: &[(usize, Instruction)],
    at: usize,
    called: Option<&str>,
) -> bool {
    let Some(argument) = window
        .iter()
        .find(|(from, _)| *from == at)
        .and_then(|(_, instruction)| instruction.argument)
    else {
        return false;
    };
    // Another instruction may set the argument later.
    let set = |argument: u8| {
        let mut writers = window.iter().rev();
        writers.find(move |(_, instruction)| instruction.argument == Some(argument))
    };
    if set(argument).is_none_or(|(from, _)| *from != at) {
        return false;
    }
    if TAKERS.contains(&(called.unwrap_or_default(), argument)) {
        return true;
    }
    let Some(file) = argument.checked_sub(1).and_then(set) else {
        return false;
    };
    let Some(reference) = reference(block, file.0, file.1.size) else {
        return false;
    };
    let target = block
        .references
        .get(reference)
        .map(|reference| reference.target);
    target.is_some_and(|target| is_path(object, target, 0))
}

/// Returns the index of the first reference in a range of bytes.
fn reference(block: &Block<'_>, start: usize, size: usize) -> Option<usize> {
    let (start, end) = (start as u64, start.saturating_add(size) as u64);
    let at = block
        .references
        .partition_point(|reference| reference.offset < start);
    (block.references.get(at)?.offset < end).then_some(at)
}

/// Whether a reference is to a string that names a source file, directly or through the table of
/// operands.
fn is_path(object: &Object<'_>, target: Target<'_>, depth: usize) -> bool {
    let Target::Block(id, offset) = target else {
        return false;
    };
    let block = &object[id];
    // The table of operands holds the address of the string.
    if object.section(id).role == Role::Operands && depth == 0 {
        return block
            .references
            .iter()
            .any(|reference| is_path(object, reference.target, 1));
    }
    let bytes = usize::try_from(offset)
        .ok()
        .and_then(|at| block.bytes.get(at..));
    let text = bytes.map(text).unwrap_or_default();
    block.kind == Kind::Data && names_source(text)
}

/// Whether two strings name the same source file in different directories: where it was built.
pub fn same_file(before: &Object<'_>, one: BlockId, after: &Object<'_>, other: BlockId) -> bool {
    let strings =
        before.section(one).role == Role::Strings && after.section(other).role == Role::Strings;
    let (a, b) = (text(before[one].bytes), text(after[other].bytes));
    let absolute = a.starts_with(b"/") || b.starts_with(b"/");
    let file = |path: &[u8]| path.rsplit(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
    strings && absolute && names_source(a) && names_source(b) && file(a) == file(b)
}

/// Returns a string without what ends it.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn names_source(text: &[u8]) -> bool {
    let source = [".c", ".h", ".rs", ".S"]
        .iter()
        .any(|end| text.ends_with(end.as_bytes()));
    let printable = text.iter().all(|&byte| byte.is_ascii_graphic());
    source && printable && text.len() > 2
}

/// The line follows the name of the file.
fn in_bug_entry(object: &Object<'_>, block: &Block<'_>) -> Option<Range<u64>> {
    let named = |target| is_path(object, target, 0);
    let mut references = block.references.iter();
    let file = references.find(|reference| named(reference.target))?;
    let end = file.offset.saturating_add(object.arch.width(file.kind));
    Some(end..end.saturating_add(2))
}

/// Descriptions of places: a name of a source file, for Rust its length, the line and perhaps the
/// column. What describes a message to print has two more names before the line.
fn in_description(object: &Object<'_>, id: BlockId) -> Vec<Range<u64>> {
    let mut lines = Vec::new();
    let block = &object[id];
    let message = matches!(object.section(id).name, "__dyndbg" | "__verbose");
    for reference in &block.references {
        if !is_path(object, reference.target, 0) {
            continue;
        }
        let after = reference.offset.saturating_add(8);
        let rust = is_rust(object, reference.target);
        match (message, rust) {
            (true, _) => {
                // The line is a field of 18 bits, and flags follow it in the same word.
                let next = block
                    .references
                    .iter()
                    .filter(|other| other.offset > reference.offset);
                let strings = next.filter(|other| matches!(other.target, Target::Block(id, _) if object.section(id).role == Role::Strings));
                let end = strings
                    .map(|other| other.offset.saturating_add(8))
                    .max()
                    .unwrap_or(after);
                lines.push(end..end.saturating_add(3));
            }
            (false, true) => lines.push(after.saturating_add(8)..after.saturating_add(16)),
            (false, false) => lines.push(after..after.saturating_add(8)),
        }
    }
    lines
}

fn is_rust(object: &Object<'_>, target: Target<'_>) -> bool {
    let Target::Block(id, _) = target else {
        return false;
    };
    let text = object[id].bytes;
    text.ends_with(b".rs") || text.ends_with(b".rs\0")
}
