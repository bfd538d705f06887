// SPDX-License-Identifier: GPL-2.0
//! Reads in a tree's Kconfig files why a symbol can't be had.

use anyhow::Result;
use ignore::WalkBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The values of a configuration's symbols. One that is not there is `n`.
pub type Values<'a> = BTreeMap<&'a str, &'a str>;

/// Returns the conditions of a symbol that these values do not meet, each with the place of its
/// line and the values in it. `arch` is the name of the architecture's directory.
pub fn unmet(tree: &Path, arch: &str, values: &Values<'_>, symbol: &str) -> Result<Vec<String>> {
    let mut unmet = Vec::new();
    let mut walk = WalkBuilder::new(tree);
    let other = tree.join("arch");
    let arch = other.join(arch);
    walk.standard_filters(false).sort_by_file_path(Path::cmp);
    walk.filter_entry(move |entry| {
        entry.path().parent() != Some(&other) || !entry.path().is_dir() || entry.path() == arch
    });
    for entry in walk.build() {
        let path = entry?.into_path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("Kconfig") || !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let file = path.strip_prefix(tree)?.display();
        for (line, condition) in conditions(&text, symbol) {
            if evaluate(&condition, values) != Some(true) {
                let values = mentioned(&condition, values);
                unmet.push(format!("{file}:{line}: {condition}{values}"));
            }
        }
    }
    Ok(unmet)
}

/// Returns the conditions that a file sets for a symbol: those of its entries, and the `if` blocks
/// around them. Each comes with the number of its line.
fn conditions(text: &str, symbol: &str) -> Vec<(usize, String)> {
    let (mut found, mut around, mut inside) = (Vec::new(), Vec::new(), false);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        while line.ends_with('\\') {
            line.truncate(line.len() - 1);
            let Some((_, more)) = lines.next() else { break };
            line = format!("{} {}", line.trim_end(), more.trim());
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let rest = rest.trim();
        match word {
            "config" | "menuconfig" => {
                inside = rest == symbol;
                if inside {
                    found.extend(around.iter().cloned());
                }
            }
            "if" => {
                around.push((index + 1, rest.to_owned()));
                inside = false;
            }
            "endif" => {
                around.pop();
                inside = false;
            }
            "choice" | "endchoice" | "menu" | "endmenu" | "comment" | "source" => inside = false,
            "depends" if inside => {
                let condition = rest.strip_prefix("on").unwrap_or(rest).trim();
                found.push((index + 1, condition.to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// Returns the symbols in a condition with their values, in parentheses.
fn mentioned(condition: &str, values: &Values<'_>) -> String {
    let is_symbol = |word: &&str| word.starts_with(|c: char| c.is_ascii_uppercase());
    let mut symbols: Vec<&str> = tokens(condition).into_iter().filter(is_symbol).collect();
    symbols.dedup();
    let values = symbols
        .iter()
        .map(|name| format!("{name}={}", value(name, values)));
    let values = values.collect::<Vec<_>>().join(", ");
    match values.is_empty() {
        true => String::new(),
        false => format!("  ({values})"),
    }
}

fn value<'a>(name: &str, values: &Values<'a>) -> &'a str {
    values.get(name).copied().unwrap_or("n")
}

/// Splits a condition into names, numbers, operators and parentheses.
fn tokens(condition: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = condition
        .split(" # ")
        .next()
        .unwrap_or_default()
        .trim_start();
    while !rest.is_empty() {
        let two = ["&&", "||", "!=", "<=", ">="];
        let name = rest.find(|c: char| !c.is_alphanumeric() && !"_-\".".contains(c));
        let end = match name {
            _ if two.iter().any(|operator| rest.starts_with(operator)) => 2,
            Some(0) => rest.chars().next().map_or(1, char::len_utf8),
            Some(end) => end,
            None => rest.len(),
        };
        let (token, more) = rest.split_at(end);
        tokens.push(token);
        rest = more.trim_start();
    }
    tokens
}

/// Returns whether a condition holds, or `None` if that takes more than the values: a call of a
/// macro, for example.
fn evaluate(condition: &str, values: &Values<'_>) -> Option<bool> {
    let tokens = tokens(condition);
    let (held, rest) = either(&tokens, values)?;
    rest.is_empty().then_some(held)
}

type Parsed<'a, 'b> = Option<(bool, &'b [&'a str])>;

fn either<'a, 'b>(tokens: &'b [&'a str], values: &Values<'_>) -> Parsed<'a, 'b> {
    let (mut held, mut rest) = both(tokens, values)?;
    while let ["||", more @ ..] = rest {
        let (next, more) = both(more, values)?;
        (held, rest) = (held || next, more);
    }
    Some((held, rest))
}

fn both<'a, 'b>(tokens: &'b [&'a str], values: &Values<'_>) -> Parsed<'a, 'b> {
    let (mut held, mut rest) = one(tokens, values)?;
    while let ["&&", more @ ..] = rest {
        let (next, more) = one(more, values)?;
        (held, rest) = (held && next, more);
    }
    Some((held, rest))
}

fn one<'a, 'b>(tokens: &'b [&'a str], values: &Values<'_>) -> Parsed<'a, 'b> {
    match tokens {
        ["!", rest @ ..] => one(rest, values).map(|(held, rest)| (!held, rest)),
        ["(", rest @ ..] => match either(rest, values)? {
            (held, [")", rest @ ..]) => Some((held, rest)),
            _ => None,
        },
        [left, operator @ ("=" | "!=" | "<" | "<=" | ">" | ">="), right, rest @ ..] => {
            let (left, right) = (literal(left, values), literal(right, values));
            let order = match (left.parse::<i64>(), right.parse::<i64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => left.cmp(right),
            };
            let held = match *operator {
                "=" => order.is_eq(),
                "!=" => order.is_ne(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_ge(),
            };
            Some((held, rest))
        }
        [name, rest @ ..] if name.starts_with(|c: char| c.is_alphanumeric()) => {
            Some((literal(name, values) != "n", rest))
        }
        _ => None,
    }
}

/// Returns what a name or a constant stands for.
fn literal<'a>(token: &'a str, values: &Values<'a>) -> &'a str {
    let is_constant = ["y", "m", "n"].contains(&token) || token.parse::<i64>().is_ok();
    match token.strip_prefix('"') {
        Some(text) => text.trim_end_matches('"'),
        None if is_constant => token,
        None => value(token, values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KCONFIG: &str = "\
if OUTER
config OTHER
\tdepends on NONE

config WANTED
\tbool \"A name\"
\tdepends on A && \\
\t\t!B
\tdepends on (C || VERSION >= 120) # why
\tdepends on $(cc-option,-x)
\tselect D
endif

menuconfig WANTED
\tdepends on E
";

    #[test]
    fn the_conditions_of_a_symbol_come_with_their_lines() {
        let wanted = [
            (1, "OUTER"),
            (7, "A && !B"),
            (9, "(C || VERSION >= 120) # why"),
            (10, "$(cc-option,-x)"),
            (15, "E"),
        ];
        let found = conditions(KCONFIG, "WANTED");
        let found: Vec<_> = found
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect();
        assert_eq!(found, wanted);
        assert!(conditions(KCONFIG, "WANT").is_empty());
    }

    #[test]
    fn conditions_are_evaluated_as_kconfig_does() {
        let values = Values::from([("A", "y"), ("M", "m"), ("V", "120300"), ("T", "x86")]);
        for (condition, held) in [
            ("A", Some(true)),
            ("B", Some(false)),
            ("M && !B", Some(true)),
            ("B || A && B", Some(false)),
            ("!(B || A)", Some(false)),
            ("V >= 120300 && V < 130000", Some(true)),
            ("V > 99 # a comment", Some(true)),
            ("T = \"x86\" && A != n", Some(true)),
            ("A = y", Some(true)),
            ("$(success,x)", None),
            ("(A", None),
        ] {
            assert_eq!(evaluate(condition, &values), held, "{condition}");
        }
    }

    #[test]
    fn only_what_is_not_met_is_told_and_other_architectures_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "init/Kconfig",
            "arch/ours/Kconfig.cpu",
            "arch/other/Kconfig",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "config X\n\tdepends on A || B\n\tdepends on C\n").unwrap();
        }
        let told = |values: &Values<'_>| unmet(dir.path(), "ours", values, "X").unwrap();
        let values = Values::from([("A", "y")]);
        let ours = "arch/ours/Kconfig.cpu:3: C  (C=n)";
        assert_eq!(told(&values), [ours, "init/Kconfig:3: C  (C=n)"]);
        assert!(told(&Values::from([("A", "y"), ("C", "m")])).is_empty());
    }
}
