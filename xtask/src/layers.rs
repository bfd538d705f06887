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
        let mut paths: Vec<String> = lines.iter().filter_map(|line| child(file, line)).collect();
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
    // What leads into a circle or out of one has an end that no other arrow goes on from.
    loop {
        let from: BTreeSet<&str> = arrows.iter().map(|arrow| arrow.0).collect();
        let to: BTreeSet<&str> = arrows.iter().map(|arrow| arrow.1).collect();
        let before = arrows.len();
        arrows.retain(|arrow| from.contains(arrow.1) && to.contains(arrow.0));
        if arrows.len() == before {
            break;
        }
    }
    let circle = arrows.iter();
    faults.extend(circle.map(|(from, to)| format!("{from} uses {to}, in a circle")));
    faults
}

/// Returns the submodule that a line of a file declares.
fn child(file: &str, line: &str) -> Option<String> {
    let name = line.trim_start_matches("pub ").strip_prefix("mod ")?;
    let parent = if file == "main" {
        String::new()
    } else {
        format!("{file}::")
    };
    Some(parent + name.strip_suffix(';')?)
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
    let files = |texts: &[(&str, &str)]| -> Vec<String> {
        let texts = texts
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        faults(&texts.collect())
    };
    let down = (
        "guest::a",
        "mod own;\nuse crate::tools::{b::{self, X},\n c,\n};",
    );
    let own = (
        "guest::a::own",
        "use crate::tools::b;\n// crate::main is only a word here.",
    );
    let sound = [
        ("main", "mod guest;"),
        down,
        own,
        ("tools::b", "use super::*;"),
        ("tools::c", ""),
    ];
    assert!(files(&sound).is_empty(), "{:?}", files(&sound));
    let up = files(&[down, ("tools::c", "let x = crate::guest::a::f();")]);
    assert!(
        up.contains(&"tools::c uses guest::a, which is in a higher layer".into()),
        "{up:?}"
    );
    let round = [
        down,
        ("tools::b", "use crate::tools::c::{Y};"),
        ("tools::c", "use crate::tools::b;"),
    ];
    let wanted = [
        "tools::b uses tools::c, in a circle",
        "tools::c uses tools::b, in a circle",
    ];
    assert_eq!(files(&round), wanted);
    let parent = files(&[down, ("guest::a::own", "use crate::guest::a::Z;")]);
    assert_eq!(parent.len(), 2, "{parent:?}");
    assert_eq!(files(&[("tools::b", "use super::c;")]).len(), 1);
}
