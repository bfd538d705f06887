// SPDX-License-Identifier: GPL-2.0
//! What a C source defines: functions, macros, structures. It is read as kernel code is written: the
//! body of a function begins and ends with a brace in the first column. Of a Rust source it finds the
//! structures and enumerations.
//!
//! This is for messages, and to notice that a structure has changed. What goes into a module is
//! decided by the objects alone.

use crate::comment;
use std::collections::BTreeMap;

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A function.
    Function,
    /// A macro.
    Macro,
    /// A structure or a union.
    Layout,
    /// An enumeration.
    Enumeration,
}

/// A definition. Of several with one name, under different conditions, the texts are joined.
pub type Outline = BTreeMap<(Kind, String), String>;

/// What stands before or behind the name of a function as if it were one.
const ATTRIBUTES: &[&str] = &[
    "__attribute__",
    "__printf",
    "__scanf",
    "__section",
    "__aligned",
    "__alloc_size",
    "__diag_ignore_all",
];

/// Returns what a source defines.
pub fn outline(text: &str) -> Outline {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Outline::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let (end, name) = if let Some(name) = macro_name(line) {
            let more = lines[at..]
                .iter()
                .take_while(|line| line.trim_end().ends_with('\\'));
            (at + more.count(), Some((Kind::Macro, name.to_owned())))
        } else if line.starts_with('{') {
            (
                closing(&lines, at),
                function_name(&lines[..at]).map(|name| (Kind::Function, name)),
            )
        } else if let Some((kind, name)) = type_name(line) {
            let end = closing(&lines, at);
            let behind = lines
                .get(end)
                .and_then(|line| word(line.trim_start_matches(['}', ' '])));
            let name = name.or(behind);
            (end, name.map(|name| (kind, name.to_owned())))
        } else {
            (at, None)
        };
        if let Some(key) = name {
            let body = lines.get(at..=end).unwrap_or_default();
            let head = match key.0 {
                Kind::Function => head(&lines[..at]),
                _ => String::new(),
            };
            *found.entry(key).or_default() += &(head + &body.join("\n") + "\n");
        }
        at = end + 1;
    }
    found
}

/// Returns the definitions of `after` that `before` has otherwise or, if `new`, has not at all.
pub fn changed(before: &Outline, after: &Outline, new: bool) -> Vec<(Kind, String)> {
    let differs = |key: &(Kind, String), text: &str| match before.get(key) {
        // A lifetime of Rust looks like a literal without an end.
        Some(old) => old != text && !comment::only_comments_differ(old.as_bytes(), text.as_bytes()),
        None => new,
    };
    let changed = after.iter().filter(|(key, text)| differs(key, text));
    changed.map(|(key, _)| key.clone()).collect()
}

/// Whether a text has this identifier.
pub fn uses(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Returns the line that closes what opens at a line: the next one with a brace in the first column.
fn closing(lines: &[&str], at: usize) -> usize {
    let closes = lines[at..].iter().position(|line| line.starts_with('}'));
    closes.map_or(lines.len().saturating_sub(1), |more| at + more)
}

fn macro_name(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix('#')?
        .trim_start()
        .strip_prefix("define")?;
    word(rest.strip_prefix([' ', '\t'])?.trim_start())
}

/// Returns the type whose members begin behind a line, and its name.
fn type_name(line: &str) -> Option<(Kind, Option<&str>)> {
    let line = line.split("/*").next().unwrap_or(line).trim_end();
    let head = line.strip_suffix('{')?;
    let head = head.strip_prefix("typedef ").unwrap_or(head);
    // Rust says who sees a type.
    let head = match head.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ').map_or(head, |(_, rest)| rest),
        None => head,
    };
    let (kind, rest) = match head.split_once([' ', '\t']).unwrap_or((head, "")) {
        ("struct" | "union", rest) => (Kind::Layout, rest),
        ("enum", rest) => (Kind::Enumeration, rest),
        _ => return None,
    };
    // A variable of such a type has more before its brace.
    match rest.contains(['=', '(']) {
        true => None,
        false => Some((kind, word(rest.trim_start()))),
    }
}

/// Returns the lines before a body that belong to its function.
fn head(before: &[&str]) -> String {
    let belongs = |line: &&&str| {
        let line = line.trim_end();
        !(line.is_empty() || line.starts_with(['#', '}']) || line.ends_with([';', '}', '/']))
    };
    let mut lines: Vec<_> = before.iter().rev().take_while(belongs).copied().collect();
    lines.reverse();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Returns the name of the function whose body comes next.
fn function_name(before: &[&str]) -> Option<String> {
    let head = head(before);
    let (mut depth, mut names) = (0_usize, Vec::new());
    for (at, c) in head.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    let mut words = head[..at].trim_end().rsplit(|c| !belongs_to_word(c));
                    names.push((words.next().unwrap_or_default(), at + 1));
                }
                depth += 1;
            }
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let is_name = |(name, _): &&(&str, usize)| !name.is_empty() && !ATTRIBUTES.contains(name);
    let &(name, arguments) = names.iter().find(is_name)?;
    if name.contains("SYSCALL_DEFINE") {
        return Some(format!("__do_sys_{}", word(&head[arguments..])?));
    }
    Some(name.to_owned())
}

/// Returns the identifier that a text begins with.
fn word(text: &str) -> Option<&str> {
    let word = text.split(|c| !belongs_to_word(c)).next();
    word.filter(|word| !word.is_empty())
}

fn belongs_to_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#define ONE 1\n#define TWO(x) \\\n\tdo { (x)++; \\\n\t} while (0)\n\n\
        struct pair {\n\tint a; /* first */\n\tint b;\n};\n\ntypedef struct {\n\tint c;\n} lone_t;\n\n\
        enum kind {\n\tA,\n};\n\nstatic const struct pair table[] = {\n\t{ 1, 2 },\n};\n\n\
        static int f(void)\n{\n\tif (ONE) {\n\t\treturn 1;\n\t}\n\treturn 0;\n}\n\n\
        __printf(1, 2) static __always_inline int\ng(const char *text, ...)\n\t__must_hold(lock)\n{\n\treturn f();\n}\n\n\
        SYSCALL_DEFINE1(close, unsigned int, fd)\n{\n\treturn g(\"\");\n}\n";

    fn names(outline: &Outline) -> Vec<String> {
        outline
            .keys()
            .map(|(kind, name)| format!("{kind:?} {name}"))
            .collect()
    }

    #[test]
    fn a_source_defines_functions_macros_and_types() {
        assert_eq!(
            names(&outline(SOURCE)),
            [
                "Function __do_sys_close",
                "Function f",
                "Function g",
                "Macro ONE",
                "Macro TWO",
                "Layout lone_t",
                "Layout pair",
                "Enumeration kind",
            ]
        );
    }

    #[test]
    fn what_changed_is_named_and_comments_are_no_change() {
        let of = |from: &str, to: &str, new| {
            let other = SOURCE.replace(from, to);
            assert_ne!(other, SOURCE);
            let changed = changed(&outline(SOURCE), &outline(&other), new);
            changed
                .into_iter()
                .map(|(kind, name)| format!("{kind:?} {name}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("return 0;", "return 2;", false), ["Function f"]);
        assert_eq!(of("f(void)", "f(int a)", false), ["Function f"]);
        assert_eq!(
            of("\tint b;\n", "\tint b;\n\tint d;\n", false),
            ["Layout pair"]
        );
        assert_eq!(of("(x)++", "(x)--", false), ["Macro TWO"]);
        assert!(of("/* first */", "/* the first */", true).is_empty());
        let added = "static int f(void)";
        let more = format!("static int h(void)\n{{\n\treturn 3;\n}}\n\n{added}");
        assert!(of(added, &more, false).is_empty());
        assert_eq!(of(added, &more, true), ["Function h"]);
    }

    #[test]
    fn a_name_begins_behind_any_character() {
        let of = |head: &str| names(&outline(&format!("{head}(int a)\n{{\n}}\n")));
        assert_eq!(of("int \u{fffd}f"), ["Function f"]);
        assert_eq!(of("int \u{fffd}"), [""; 0]);
    }

    #[test]
    fn an_identifier_is_whole() {
        assert!(uses("return f();", "f") && uses("f", "f"));
        assert!(!uses("return ff();", "f") && !uses("f_x", "f") && !uses("", "f"));
    }
}
