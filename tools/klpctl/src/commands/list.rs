// SPDX-License-Identifier: GPL-2.0
//! `klpctl list`: the live patches that are loaded, and those that are installed.

use crate::failure::{Exit, Result};
use crate::module::{Module, Origin};
use crate::output::{table, Answer};
use crate::system::patches::{Patch, State};
use crate::system::System;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct List<'a> {
    kernel: &'a str,
    patches: &'a [Loaded],
    installed: &'a [Installed],
}

#[derive(Serialize)]
struct Loaded {
    #[serde(flatten)]
    patch: Patch,
    /// Only if the file that it was loaded from is installed.
    origin: Option<Origin>,
}

#[derive(Serialize)]
struct Installed {
    name: Option<String>,
    file: PathBuf,
    loaded: bool,
    origin: Option<Origin>,
    problem: Option<String>,
}

/// Runs the command.
pub fn run(system: &System, verbose: bool) -> Result<Answer> {
    let mut patches = system.patches()?;
    for module in system.live_patch_modules() {
        if !patches.iter().any(|patch| patch.name == module) {
            patches.push(unused(module));
        }
    }
    let release = system.release();
    let installed: Vec<_> = system
        .installed(&release)
        .iter()
        .map(|file| describe(system, file))
        .collect();
    let loaded: Vec<_> = patches
        .into_iter()
        .map(|patch| Loaded {
            origin: origin(system, &patch.name, &installed),
            patch,
        })
        .collect();
    let list = List {
        kernel: &release,
        patches: &loaded,
        installed: &installed,
    };
    Ok(Answer::new(Exit::Done, text(&list, verbose), &list))
}

/// Returns a module that is loaded without being in use: replaced, or disabled by hand.
fn unused(name: String) -> Patch {
    Patch {
        name,
        state: State::Unused,
        replace: None,
        stack_order: None,
        gear: None,
        deadline: None,
        objects: Vec::new(),
    }
}

fn describe(system: &System, file: &Path) -> Installed {
    let (origin, problem) = match Module::read(file) {
        Ok(module) => (Some(module.origin), None),
        Err(failure) => (None, Some(failure.cause)),
    };
    let name = origin.as_ref().map(|origin| origin.name.clone());
    Installed {
        loaded: name.as_ref().is_some_and(|name| system.is_loaded(name)),
        name,
        file: file.to_owned(),
        origin,
        problem,
    }
}

/// Returns where a loaded patch comes from: an installed file of the same build.
fn origin(system: &System, name: &str, installed: &[Installed]) -> Option<Origin> {
    let running = system.module_build_id(name)?;
    let origins = installed.iter().filter_map(|own| own.origin.as_ref());
    let mut same = origins.filter(|own| own.build_id.as_ref() == Some(&running));
    same.next().cloned()
}

fn text(list: &List<'_>, verbose: bool) -> String {
    let mut text = String::new();
    if list.patches.is_empty() {
        text.push_str("No live patch is loaded.\n");
    } else {
        let mut rows = vec![row(["LOADED", "STATE", "FUNCTIONS", "REPLACES", "GEAR"])];
        rows.extend(list.patches.iter().map(|loaded| loaded_row(&loaded.patch)));
        text.push_str(&table(&rows));
    }
    if verbose {
        list.patches
            .iter()
            .for_each(|loaded| details(&mut text, loaded));
    }
    if list.installed.is_empty() {
        return text;
    }
    text.push('\n');
    let mut rows = vec![row(["INSTALLED", "LOADED", "CVES"])];
    for installed in list.installed {
        let cves = installed
            .origin
            .as_ref()
            .map_or(String::new(), |own| own.cves.join(","));
        let file = installed.file.display().to_string();
        rows.push(vec![
            installed.name.clone().unwrap_or(file),
            if installed.loaded { "yes" } else { "no" }.into(),
            installed.problem.clone().unwrap_or(cves),
        ]);
    }
    text.push_str(&table(&rows));
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn loaded_row(patch: &Patch) -> Vec<String> {
    let functions: usize = patch
        .objects
        .iter()
        .map(|object| object.functions.len())
        .sum();
    let replaces = match patch.replace {
        None => "-",
        Some(true) => "all",
        Some(false) => "none",
    };
    let functions = match patch.state {
        State::Unused => "-".into(),
        _ => functions.to_string(),
    };
    let gear = patch.gear.as_deref().unwrap_or("-");
    vec![
        patch.name.clone(),
        patch.state.word().into(),
        functions,
        replaces.into(),
        gear.into(),
    ]
}

fn details(text: &mut String, loaded: &Loaded) {
    let _ = writeln!(text, "\n{}", loaded.patch.name);
    for object in &loaded.patch.objects {
        let waits = match object.patched {
            Some(false) => " (not loaded, or not patched)",
            _ => "",
        };
        let names = object
            .functions
            .iter()
            .map(|own| own.split(',').next().unwrap_or(own));
        let names: Vec<_> = names.collect();
        let _ = writeln!(text, "  {}{waits}: {}", object.name, names.join(", "));
    }
    match &loaded.origin {
        Some(origin) => text.push_str(&super::info::lines(origin, "  ")),
        None => text.push_str("  origin: unknown; its file is not installed\n"),
    }
}
