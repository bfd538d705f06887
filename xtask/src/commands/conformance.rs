// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask conformance`: tests the claims of an architecture's backend on a running kernel.
//!
//! The guest exercises every capability, claimed or not. A claimed capability that the guest does
//! not show is a failure. An unclaimed one is reported with the backend's reason.

mod relocations;

use crate::commands::cli;
use crate::guest::ktap::{Case, Event, Report, Verdict};
use crate::guest::suite::{self, Suite, View};
use crate::guest::userspace::Userspace;
use crate::guest::{initramfs, modules};
use crate::kernel::build;
use crate::kernel::flavour::Core;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use anyhow::{Context as _, Result};
use console::style;
use livepatch_arch::{Capability, Claims, Support, BACKENDS};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// The name of the suite.
pub const NAME: &str = "conformance";

/// The module that gets livepatch relocations.
const RELOCATIONS: &str = "conformance_relocations.ko";

static SUITE: Suite = Suite::new(NAME, "every capability that a backend can claim", 20);

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Build) -> Result<()> {
    let kernel = build::kernel(cx, args.arch, args.core)?;
    let tally = of(cx, &kernel)?;
    let (passed, failed, skipped) = (tally.passed, tally.failed(), tally.skipped);
    println!("{passed} passed, {failed} failed, {skipped} not claimed");
    tally::conclude(failed)
}

/// Runs the suite on one kernel, prints the table and returns the tally. A capability that is not
/// claimed counts as skipped.
pub fn of(cx: &Context, kernel: &Kernel) -> Result<Tally> {
    let target = kernel.target.name;
    let claims = BACKENDS
        .iter()
        .find(|claims| claims.name == target)
        .with_context(|| format!("no backend is called {target}: see arch/livepatch_arch.rs"))?;
    let initramfs = initramfs(cx, kernel)?;
    let core = kernel.core.name();
    println!(
        "\n{}",
        style(format!("Conformance of {target} with the {core}")).bold()
    );
    let mut outcome = SUITE.run_on(cx, kernel, &initramfs, &mut |event| {
        if let Event::Heading(text) = event {
            println!("  {}", style(text).dim());
        }
    })?;
    let rows = rows(claims, kernel.core, &outcome.report);
    print!("{}", table(&rows));
    let mut tally = count(&rows);
    outcome.report.cases.retain(is_no_capability);
    for case in &outcome.report.cases {
        suite::show(&Event::Case(case.clone()), View::Results);
    }
    tally += outcome.tally();
    Ok(tally)
}

/// Builds the initramfs: the ordinary one, the script, its modules and its program.
fn initramfs(cx: &Context, kernel: &Kernel) -> Result<PathBuf> {
    let base = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build the conformance suite's modules";
    initramfs::extended(cx, kernel, &base, (NAME, NAME), title, |archive, work| {
        archive.copy_all(
            NAME,
            &[modules::compile(cx, kernel, &work.join("vectors.c"))?],
        )?;
        for path in modules::objects(&work.join("modules"))? {
            let name = modules::name(&path);
            let mut module =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if name == RELOCATIONS {
                module = relocations::convert(&module)
                    .with_context(|| format!("cannot make livepatch relocations in {name}"))?;
            }
            archive.file(&format!("{NAME}/{name}"), 0o644, &module)?;
        }
        Ok(())
    })
}

/// The result of one capability.
struct Row<'a> {
    capability: Capability,
    claim: Support,
    /// Whether the guest showed it, or `None` if the guest did not exercise it.
    shown: Option<bool>,
    told: &'a [String],
}

impl Row<'_> {
    fn failed(&self) -> bool {
        self.claim == Support::Yes && self.shown != Some(true)
    }
}

fn rows<'a>(claims: &Claims, core: Core, report: &'a Report) -> Vec<Row<'a>> {
    let row = |&capability: &Capability| {
        let mut cases = report.cases.iter();
        let case = cases.find(|case| case.name == capability.name());
        Row {
            capability,
            claim: claim(claims, core, capability),
            shown: case.map(|case| case.verdict == Verdict::Pass),
            told: case.map_or(&[], |case| &case.told),
        }
    };
    Capability::ALL.iter().map(row).collect()
}

/// Returns whether a backend claims a capability for this core. A run on the C core tests the suite
/// itself. The architecture's claims hold there too, except for the settled gear, which only the
/// Rust core has.
fn claim(claims: &Claims, core: Core, capability: Capability) -> Support {
    match (core, capability) {
        (Core::C, Capability::SettledGear) => Support::No("the C core has none"),
        _ => claims.support(capability),
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let names = rows.iter().map(|row| row.capability.name().len());
    let width = names.max().unwrap_or_default();
    let mut text = format!("{:width$}  claimed  shown\n", "capability");
    for row in rows {
        let (claimed, reason) = match row.claim {
            Support::Yes => ("yes", String::new()),
            Support::No(reason) => ("no", format!(" (not claimed: {reason})")),
        };
        let shown = match row.shown {
            Some(true) => "yes",
            Some(false) => "no",
            None => "never",
        };
        let (name, about) = (row.capability.name(), row.capability.about());
        let line = format!("{name:width$}  {claimed:7}  {shown:5}  {about}{reason}");
        let line = if row.failed() {
            style(line).red()
        } else {
            style(line)
        };
        let _ = writeln!(text, "{line}");
        for line in row.told.iter().filter(|_| row.failed()) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Adds up the rows.
fn count(rows: &[Row<'_>]) -> Tally {
    let mut tally = Tally::default();
    for row in rows {
        match row.claim {
            Support::Yes if row.failed() => {
                let name = row.capability.name();
                let told = row.told.join("\n");
                tally
                    .failures
                    .push(format!("{name} is claimed, and not shown\n{told}"));
            }
            Support::Yes => tally.passed += 1,
            Support::No(_) => tally.skipped += 1,
        }
    }
    tally
}

/// Whether a case is about the kernel in general, and not about a capability.
fn is_no_capability(case: &Case) -> bool {
    let mut capabilities = Capability::ALL.iter();
    capabilities.all(|capability| capability.name() != case.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::ktap::Reader;

    fn judged(lines: &[String], core: Core) -> (Tally, String) {
        let mut reader = Reader::default();
        for line in lines {
            reader.line(line);
        }
        let report = reader.finish(true);
        let rows = rows(&BACKENDS[0], core, &report);
        (count(&rows), table(&rows))
    }

    fn lines(result: impl Fn(Capability) -> Option<&'static str>) -> Vec<String> {
        let mut lines = vec![String::new()];
        for &capability in Capability::ALL {
            if let Some(result) = result(capability) {
                let number = lines.len();
                lines.push(format!("{result} {number} - {}", capability.name()));
            }
        }
        lines[0] = format!("1..{}", lines.len() - 1);
        lines
    }

    fn claimed() -> usize {
        let all = Capability::ALL.iter();
        all.filter(|capability| BACKENDS[0].support(**capability) == Support::Yes)
            .count()
    }

    #[test]
    fn what_is_claimed_and_shown_passes() {
        let (tally, text) = judged(&lines(|_| Some("ok")), Core::Rust);
        assert_eq!((tally.passed, tally.failed()), (claimed(), 0), "{text}");
        assert_eq!(tally.skipped, Capability::ALL.len() - claimed());
    }

    #[test]
    fn what_is_claimed_and_not_shown_fails() {
        let (tally, text) = judged(&lines(|_| Some("not ok")), Core::Rust);
        assert_eq!((tally.passed, tally.failed()), (0, claimed()), "{text}");
    }

    #[test]
    fn what_was_not_exercised_fails() {
        let result = |capability| (capability != Capability::Variadic).then_some("ok");
        let (tally, text) = judged(&lines(result), Core::Rust);
        assert_eq!((tally.passed, tally.failed()), (claimed() - 1, 1), "{text}");
        assert!(text.contains("never"), "{text}");
    }

    #[test]
    fn the_settled_gear_is_not_expected_of_the_c_core() {
        let result = |capability| match capability {
            Capability::SettledGear => Some("not ok"),
            _ => Some("ok"),
        };
        let (tally, text) = judged(&lines(result), Core::C);
        assert_eq!(tally.failed(), 0, "{text}");
        assert!(text.contains("the C core has none"), "{text}");
    }

    #[test]
    fn the_guest_knows_every_capability() {
        let (_dir, cx) = Context::for_test();
        let script = fs::read_to_string(cx.root.join("tests/guest/conformance/run")).unwrap();
        for capability in Capability::ALL {
            let mut words = script.split([' ', '\t', '\n', '"']);
            assert!(
                words.any(|word| word == capability.name()),
                "{}",
                capability.name()
            );
        }
    }
}
