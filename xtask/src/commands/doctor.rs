// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask doctor`: lists what is installed, what is missing and how to get it.

use crate::commands::cli;
use crate::kernel::rustc;
use crate::kernel::source::{self, Source};
use crate::kernel::toolchain::Toolchain;
use crate::tools::context::Context;
use crate::tools::herd::Herd;
use crate::tools::tool::{Tool, BINDGEN, MUTANTS};
use crate::tools::{apt, provision};
use anyhow::{bail, Result};

/// One line of the report.
struct Line {
    name: String,
    state: State,
}

/// The state of one item.
enum State {
    /// It is present: where it is, or what it is.
    There(String),
    /// It is fetched into the cache when it is first needed. The user has nothing to do.
    Later(&'static str),
    /// It is missing, and this package provides it.
    Missing(&'static str),
}

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Doctor) -> Result<()> {
    if let Some(caveat) = args.arch.caveat() {
        println!("{caveat}\n");
    }
    let mut needs = provision::for_build(args.arch);
    needs.extend(provision::for_guest(args.arch));
    if args.fix {
        provision::ensure(cx, &needs)?;
        Toolchain::ready(cx)?;
        Source::choose(cx)?;
    }
    let mut lines: Vec<Line> = needs
        .iter()
        .map(|need| Line {
            name: need.name.to_owned(),
            state: match need.find() {
                Some(found) => State::There(found),
                None => State::Missing(need.packages.first().copied().unwrap_or_default()),
            },
        })
        .collect();
    lines.extend(fetched(cx)?);
    let width = lines
        .iter()
        .map(|line| line.name.len())
        .max()
        .unwrap_or_default();
    for line in &lines {
        let (mark, note) = match &line.state {
            State::There(found) => ("ok", found.clone()),
            State::Later(how) => ("later", (*how).to_owned()),
            State::Missing(package) => ("MISSING", format!("package {package}")),
        };
        println!("{mark:8} {:width$}  {note}", line.name);
    }
    let missing: Vec<&str> = lines
        .iter()
        .filter_map(|line| match line.state {
            State::Missing(package) => Some(package),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        println!(
            "\nall there for {}; the cache is {}",
            args.arch.name,
            cx.cache.display()
        );
        return Ok(());
    }
    bail!(
        "{} missing: `cargo xtask doctor --fix` installs what is, or {}",
        missing.len(),
        apt::advice(&missing)
    )
}

/// Returns the lines for what xtask itself fetches into the cache.
fn fetched(cx: &Context) -> Result<Vec<Line>> {
    let rustc = rustc::chosen(cx)?;
    let later = |found: Option<String>, how| found.map_or(State::Later(how), State::There);
    let library = rustc.library(cx).map(|path| path.display().to_string());
    let tool = |tool: &Tool| tool.find(cx).map(|path| path.display().to_string());
    let source = match &cx.tree {
        Some(tree) => Some(tree.display().to_string()),
        None => source::cached_package(cx),
    };
    let line = |name: String, state| Line { name, state };
    Ok(vec![
        line(
            format!("rustc {}", rustc.release),
            State::There(rustc.sysroot.display().to_string()),
        ),
        line(
            "rust-src".into(),
            later(library, "taken from Debian or rustup when needed"),
        ),
        line(
            BINDGEN.to_string(),
            later(
                tool(&BINDGEN),
                "taken from Debian when needed, or built with `cargo install`",
            ),
        ),
        line(
            MUTANTS.to_string(),
            later(
                tool(&MUTANTS),
                "built with `cargo install` for `verify`, 4 minutes",
            ),
        ),
        line(
            "herd7".into(),
            later(
                Herd::find(cx).map(|herd| herd.to_string()),
                "taken from Debian when needed, for `verify`",
            ),
        ),
        line(
            "kernel source".into(),
            later(source, "Debian's package is fetched when needed"),
        ),
    ])
}
