// SPDX-License-Identifier: GPL-2.0
//! Tests that no file uses one of a higher layer, and that no files use each other in a circle.
//!
//! A file is called by the path of its module. It uses the files that it names after `crate::`, and
//! those of its own submodules.

use ignore::WalkBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers, lowest first.
const LAYERS: [&str; 5] = ["tools", "kernel", "guest", "commands", "main"];

/// Returns what is wrong with these files, given as names and texts.
fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let (mut arrows, mut faults) = (BTreeSet::new(), Vec::new());
    for (file, text) in files {
        let lines = text.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("//")).collect();
        let bad = |line: &&&str| line.contains("super::") && **line != "use super::*;";
        if let Some(line) = lines.iter().find(bad) {
            faults.push(format!("{file} has to begin paths with `crate`: {line}"));
        }
        let child = |line: &&str| {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ")?;
            Some(format!("{file}::{}", name.strip_suffix(';')?))
        };
        let mut paths: Vec<String> = lines.iter().filter_map(child).collect();
        for path in lines.join("\n").split("crate::").skip(1) {
            expand("", path, &mut paths);
        }
        let used = paths.iter().filter_map(|path| resolve(files, path));
        let others = used.filter(|used| used != file);
        arrows.extend(others.map(|used| (file.as_str(), used)));
    }
    let rank = |file: &str| LAYERS.iter().position(|layer| file.starts_with(layer));
    let up = arrows.iter().filter(|(from, to)| rank(from) < rank(to));
    faults.extend(up.map(|(from, to)| format!("{from} uses {to}, which is in a higher layer")));
    // An arrow is in no circle if none goes on from its end, or none comes to its start.
    arrows.retain(|(from, to)| rank(from) == rank(to));
    let mut before = 0;
    while arrows.len() != before {
        before = arrows.len();
        let (from, to): (Vec<&str>, Vec<&str>) = arrows.iter().copied().unzip();
        arrows.retain(|arrow| from.contains(&arrow.1) && to.contains(&arrow.0));
    }
    let circle = arrows.iter();
    faults.extend(circle.map(|(from, to)| format!("{from} uses {to}, in a circle")));
    faults
}

/// Finds the paths that begin with `path` and go on with a text, which may be a list in braces.
/// Returns the text behind.
fn expand<'a>(path: &str, text: &'a str, found: &mut Vec<String>) -> &'a str {
    let end = text.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let path = path.to_owned() + name;
    let Some(mut list) = rest.strip_prefix('{') else {
        found.extend(Some(path).filter(|_| !name.is_empty()));
        return rest;
    };
    loop {
        let rest = expand(&path, list.trim_start(), found).trim_start();
        match rest.strip_prefix(',') {
            Some(more) => list = more,
            None => return rest.strip_prefix('}').unwrap_or(rest),
        }
    }
}

/// Returns the file that has what a path names.
fn resolve<'a>(files: &'a BTreeMap<String, String>, path: &str) -> Option<&'a str> {
    match files.get_key_value(path) {
        Some((file, _)) => Some(file),
        None => resolve(files, path.rsplit_once("::")?.0),
    }
}

#[test]
fn arrows_go_down_and_never_round() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    for entry in WalkBuilder::new(&src).build() {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("layers.rs")
        {
            let name = path.strip_prefix(&src).unwrap().with_extension("");
            let name = name.to_str().unwrap().replace('/', "::");
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    assert!(LAYERS.iter().all(|layer| files.contains_key(*layer)));
    let faults = faults(&files);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_goes_up_or_round_is_named() {
    let told = |a: &str, b: &str, c: &str| {
        let texts = [("guest::a", a), ("tools::b", b), ("tools::c", c)];
        faults(&texts.map(|(name, text)| (name.into(), text.into())).into()).join("; ")
    };
    let (a, b) = ("use crate::tools::{b::{self, X},\n c,\n};", "use super::*;");
    assert_eq!(told(a, b, "// crate::guest::a is only named."), "");
    let up = "tools::c uses guest::a, which is in a higher layer";
    assert_eq!(told(a, b, "let x = crate::guest::a::f();"), up);
    let round = "tools::b uses tools::c, in a circle; tools::c uses tools::b, in a circle";
    let b = "use crate::tools::{Y, c::{Z}};";
    assert_eq!(told(a, b, "use crate::tools::b;"), round);
    let sibling = "tools::c has to begin paths with `crate`: use super::b;";
    assert_eq!(told(a, b, "use super::b;"), sibling);
}
