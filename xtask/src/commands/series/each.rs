// SPDX-License-Identifier: GPL-2.0
//! Builds the kernel after every patch of the series, and boots it after every stage.

use crate::guest::suite::{self, Outcome, View};
use crate::kernel::content::{put, Content};
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::history::{self, Extent, History};
use crate::kernel::make::Kernel;
use crate::kernel::source::Source;
use crate::kernel::toolchain::Toolchain;
use crate::kernel::{build, config, graft};
use crate::tools::context::Context;
use crate::tools::identity::Identity;
use crate::tools::provision;
use crate::tools::tally::{self, Tally};
use crate::tools::target::Target;
use anyhow::{ensure, Context as _, Result};
use indicatif::FormattedDuration;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use steps::git;
use steps::{place, step};

/// A column of the table: a kernel that is built after every patch.
struct Column {
    title: &'static str,
    core: Core,
    flavour: Flavour,
}

const COLUMNS: &[Column] = &[
    Column {
        title: "C core",
        core: Core::C,
        flavour: Flavour::Plain,
    },
    Column {
        title: "Rust core",
        core: Core::Rust,
        flavour: Flavour::Plain,
    },
    Column {
        title: "no livepatch",
        core: Core::C,
        flavour: Flavour::Without,
    },
];

/// The suite that a stage has to pass, with each core: upstream's selftests.
const SUITE: &str = "kselftest";

/// A state of the tree.
struct State {
    /// The patch that leads to it.
    name: String,
    commit: String,
    /// Whether a stage is complete with it.
    ends_stage: bool,
}

/// Builds the source as it comes, and then after every patch. Boots what each stage ends with. Prints
/// a table.
pub fn build(cx: &Context, target: &'static Target) -> Result<()> {
    let (source, tools) = build::ready(cx, target, Flavour::Plain)?;
    provision::ensure(cx, &[provision::CCACHE])?;
    // One kernel compiles mostly what the other two do, and the next check what this one does.
    let tools = tools.with_ccache(cx);
    let _lock = cx.lock("series")?;
    let repo = history::aside(cx)?;
    let (tree, history) = {
        let _lock = cx.lock(&graft::lock_name(&source))?;
        graft::refresh(&source)?;
        let who = Identity::for_checks();
        let history = History::make(cx, &source, repo.path(), Extent::Touched, &who)?;
        (tree(cx, &source)?, history)
    };
    let list = git::run(repo.path(), &["ls-files"], "")?;
    let files: BTreeSet<PathBuf> = list.lines().map(PathBuf::from).collect();
    let mut states = vec![State {
        name: format!("Linux {}", source.version),
        commit: history.base.clone(),
        ends_stage: true,
    }];
    for (stage, commits) in &history.stages {
        for (patch, commit) in stage.patches.iter().zip(commits) {
            states.push(State {
                name: patch.name().trim_end_matches(".patch").to_owned(),
                commit: commit.clone(),
                ends_stage: Some(commit) == commits.last(),
            });
        }
    }

    let (mut rows, mut failures) = (Vec::new(), 0);
    let mut before: Option<Image> = None;
    for State {
        name,
        commit,
        ends_stage,
    } in &states
    {
        println!("\n{name}");
        git::run(
            repo.path(),
            &["checkout", "--quiet", "--detach", commit],
            "",
        )?;
        for file in &files {
            let content = Content::read(&repo.path().join(file))?;
            put(&tree, file, content.as_ref())?;
        }
        let mut row = Vec::new();
        for column in COLUMNS {
            if column.core == Core::Rust && !config::has_choice(&tree)? {
                row.push("-".to_owned());
                continue;
            }
            let start = Instant::now();
            let built = one(cx, &source, &tree, target, column, tools.clone());
            let built = built.and_then(|kernel| {
                if (column.core, column.flavour) == (Core::C, Flavour::Plain) {
                    let image = Image::of(&kernel)?;
                    let before = before.replace(image.clone());
                    if !name.starts_with("fixes/") {
                        image.equals(before.as_ref())?;
                    }
                }
                Ok(kernel)
            });
            if let Err(error) = &built {
                eprintln!("error: {error:#}");
                failures += 1;
            }
            let time = FormattedDuration(start.elapsed());
            let mut cell = format!("{} {time}", tally::mark(built.is_ok()));
            if let (Ok(kernel), true, Flavour::Plain) = (&built, ends_stage, column.flavour) {
                let tests = boot(cx, kernel);
                failures += tests.failed();
                cell = format!("{cell}, {} {SUITE}", tally::mark(tests.failed() == 0));
            }
            row.push(cell);
        }
        rows.push((name, row));
    }
    print(&rows);
    tally::conclude(failures)
}

/// Runs the suite on a kernel.
fn boot(cx: &Context, kernel: &Kernel) -> Tally {
    let outcome = suite::find(SUITE).and_then(|suite| suite.run(cx, kernel, View::Results));
    outcome.map_or_else(|error| Tally::failure(&error), Outcome::tally)
}

/// Prints the table: a name, and a cell for each column.
fn print(rows: &[(&String, Vec<String>)]) {
    let line = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String = cells.map(|cell| format!("{cell:24}")).collect();
        println!("{name:56} {}", cells.trim_end());
    };
    println!();
    line("after", &mut COLUMNS.iter().map(|column| column.title));
    for (name, row) in rows {
        line(name, &mut row.iter().map(String::as_str));
    }
}

/// Returns a tree for these builds. It takes one state after the other, and only what differs is
/// written, so that make compiles only what has changed.
fn tree(cx: &Context, source: &Source) -> Result<PathBuf> {
    let dir = cx.cache.join("series").join(&source.key);
    if !dir.exists() {
        place::room(&dir, 8 * place::GIB, "a kernel tree and three builds")?;
        let placed = graft::read_placed(source)?;
        let copy = |partial: &Path| history::copy(cx, source, partial, &placed);
        step::work("Copy the kernel source", || place::whole(&dir, copy))?;
    }
    Ok(dir)
}

/// Builds one kernel.
fn one(
    cx: &Context,
    source: &Source,
    tree: &Path,
    target: &'static Target,
    column: &Column,
    tools: Toolchain,
) -> Result<Kernel> {
    let (core, flavour) = (column.core, column.flavour);
    let (key, target_name, suffix) = (&source.key, target.name, flavour.suffix());
    // The name is not that of the grafted tree's build: what is made for its guests goes by it.
    let name = format!("{key}-series-{target_name}-{core}{suffix}");
    let kernel = Kernel {
        src: tree.to_owned(),
        out: cx.cache.join("series").join(name),
        target,
        core,
        flavour,
        tools,
    };
    config::apply(cx, &kernel)?;
    build::make(cx, &kernel)?;
    Ok(kernel)
}

/// What a kernel with the C core consists of, as far as the series could change it.
#[derive(Clone)]
struct Image {
    /// The names of all symbols, with repetitions, and without the numbers of lines in them.
    symbols: Vec<String>,
    /// The size of ftrace's code in bytes.
    ftrace: u64,
}

/// Returns the name of a symbol without what a moved line changes. The name of an initcall has the
/// counter of its file and its line: `__initcall__kmod_libftrace__827_4427_ftrace_check_sync7s`.
fn without_line(name: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_digit());
    let words = || name.split('_');
    match name.starts_with("__initcall__kmod_") {
        true => words()
            .filter(|word| !is_number(word))
            .collect::<Vec<_>>()
            .join("_"),
        false => name.to_owned(),
    }
}

impl Image {
    fn of(kernel: &Kernel) -> Result<Self> {
        let vmlinux = kernel.out.join("vmlinux");
        let bytes = fs::read(&vmlinux).with_context(|| vmlinux.display().to_string())?;
        let file = object::File::parse(&*bytes)?;
        let names = file.symbols().filter_map(|symbol| symbol.name().ok());
        let symbols = names.map(without_line).collect();
        let bytes = fs::read(kernel.out.join("kernel/trace/ftrace.o"))?;
        let file = object::File::parse(&*bytes)?;
        let code = file
            .sections()
            .filter(|section| section.kind() == SectionKind::Text);
        Ok(Self {
            symbols,
            ftrace: code.map(|section| section.size()).sum(),
        })
    }

    /// Checks that nothing has come into the kernel or left it. Only fixes change a kernel with the
    /// C core.
    fn equals(&self, before: Option<&Self>) -> Result<()> {
        let Some(before) = before else {
            return Ok(());
        };
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for (symbols, sign) in [(&before.symbols, -1), (&self.symbols, 1)] {
            for symbol in symbols {
                *counts.entry(symbol).or_default() += sign;
            }
        }
        let differ = counts.into_iter().filter(|(_, count)| *count != 0);
        let differ: Vec<String> = differ
            .map(|(symbol, count)| format!("{symbol} ({count:+})"))
            .collect();
        ensure!(
            differ.is_empty() && self.ftrace == before.ftrace,
            "with the C core, the kernel has changed: ftrace's code from {} to {} bytes; symbols {}",
            before.ftrace,
            self.ftrace,
            differ.join(" ")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_line_is_no_new_symbol() {
        let names =
            ["827_4427", "829_4493"].map(|at| format!("__initcall__kmod_libftrace__{at}_check7s"));
        assert_eq!(without_line(&names[0]), without_line(&names[1]));
        assert!(without_line(&names[0]).ends_with("libftrace__check7s"));
        assert_eq!(without_line("f_1_2"), "f_1_2");
    }

    #[test]
    fn what_has_come_into_the_kernel_is_named() {
        let image = |symbols: &[&str], ftrace| Image {
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            ftrace,
        };
        let before = image(&["a", "b", "b"], 10);
        assert!(image(&["b", "a", "b"], 10).equals(Some(&before)).is_ok());
        assert!(image(&["a"], 1).equals(None).is_ok());
        let error = image(&["a", "b", "c"], 10)
            .equals(Some(&before))
            .unwrap_err();
        assert!(
            error.to_string().ends_with("symbols b (-1) c (+1)"),
            "{error}"
        );
        assert!(image(&["a", "b", "b"], 11).equals(Some(&before)).is_err());
    }
}
