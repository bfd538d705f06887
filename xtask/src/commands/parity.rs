// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask parity`: compares the behaviour of the C core and the Rust core.
//!
//! Two kernels are built from the same tree and differ only in the core. They boot the same guest
//! and play the same scenarios. After each step the guest writes down everything that can be seen
//! of the core from outside: error numbers, log lines, the sysfs tree, reference counts, and which
//! version of a function runs. Any difference that is not documented is a failure, and so is any
//! complaint of either kernel.

mod compare;
mod elf;
mod kit;
mod sequences;
mod transcript;

use crate::commands::cli;
use crate::commands::parity::compare::Row;
use crate::commands::parity::transcript::Transcript;
use crate::guest::modules;
use crate::guest::qemu::{Boot, Clock, SILENCE};
use crate::guest::userspace::Userspace;
use crate::kernel::build;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::{self, mark, Tally};
use anyhow::{bail, Result};
use console::style;
use std::fs;
use std::time::Duration;

/// Names of the groups of scenarios. A group is selected by its name, like a single scenario.
pub const SCENARIOS: &str = "scenarios";
const STARVED: &str = "starved";
const SEQUENCES: &str = "sequences";
const KSELFTEST: &str = "kselftest";
const NEIGHBOURS: &str = "neighbours";

/// How many random sequences [`alone`] plays.
const SEQUENCES_ALONE: usize = 20;

/// In [`alone`], only every n-th allocation is made to fail. This is n.
const STARVED_ALONE: usize = 13;

/// Commands before the random sequences. They leave one CPU online: with one CPU, a transition that
/// nothing stalls is over before its write returns. They turn on debug messages, except those about
/// tasks, which depend on timing.
const SEQUENCES_START: &str = "cpu 1 0\n\
    dyndbg file kernel/livepatch/* +p\n\
    dyndbg func klp_try_switch_task -p\n";

/// A part of the comparison: one boot of each core.
struct Part {
    /// Its name, also used for the script in the guest and for its logs.
    name: &'static str,
    /// The file of `tests/guest/parity/` to run.
    entry: &'static str,
    /// The userspace that this needs.
    userspace: Userspace,
    /// The configuration of the kernels beyond the core.
    flavour: Flavour,
    /// The scenarios for the player.
    script: String,
    /// How long it may take, including emulation on a busy host.
    deadline: Duration,
}

/// What plays the scenarios of a script.
const PLAYER: Part = Part {
    name: "parity",
    entry: "play",
    userspace: Userspace::Small,
    flavour: Flavour::Plain,
    script: String::new(),
    deadline: Duration::from_secs(30 * 60),
};

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Parity) -> Result<()> {
    let parts = parts(cx, args)?;
    let mut rows = Vec::new();
    for part in &parts {
        rows.extend(side_by_side(cx, args, part)?);
    }
    println!("\n{}", style("C core and Rust core, side by side").bold());
    print!("{}", compare::table(&rows));
    println!("\nnot compared, because it is meant to differ (Documentation/livepatch/rust/differences.rst):");
    for documented in compare::DOCUMENTED {
        println!("  {:?}: {}", documented.line, documented.reason);
    }
    println!("transcripts and full logs: {}", cx.logs().display());
    let failed = rows.iter().filter(|row| !row.passed()).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    tally::conclude(failed)
}

/// Returns the parts that the user asked for.
fn parts(cx: &Context, args: &cli::Parity) -> Result<Vec<Part>> {
    let (plain, starved) = scripts(cx)?;
    known(
        args,
        plain.iter().chain(&starved).map(|(name, _)| name.as_str()),
    )?;
    let wanted =
        |name: &str| args.scenario.is_empty() || args.scenario.iter().any(|only| only == name);
    let mut parts = Vec::new();
    for (name, group, flavour, scenarios) in [
        ("parity", SCENARIOS, Flavour::Plain, plain),
        ("parity-starved", STARVED, Flavour::Fault, starved),
    ] {
        let script: String = scenarios
            .iter()
            .filter(|(name, _)| wanted(group) || wanted(name))
            .map(|(_, text)| text.as_str())
            .collect();
        if !script.is_empty() {
            parts.push(Part {
                name,
                flavour,
                script,
                ..PLAYER
            });
        }
    }
    if wanted(SEQUENCES) && args.sequences > 0 {
        let script = SEQUENCES_START.to_owned() + &sequences::script(args.seed, args.sequences);
        parts.push(Part {
            name: "parity-sequences",
            script,
            deadline: Duration::from_secs(300 + 15 * args.sequences as u64),
            ..PLAYER
        });
    }
    if wanted(KSELFTEST) && !args.no_kselftest {
        parts.push(Part {
            name: "parity-kselftest",
            entry: "kselftest",
            userspace: Userspace::Full,
            ..PLAYER
        });
    }
    if wanted(NEIGHBOURS) {
        parts.push(Part {
            name: "parity-neighbours",
            entry: NEIGHBOURS,
            flavour: match args.arch.bpf {
                true => Flavour::Bpf,
                false => Flavour::Plain,
            },
            ..PLAYER
        });
    }
    Ok(parts)
}

/// Checks that the requested scenarios and groups exist.
fn known<'a>(args: &cli::Parity, scenarios: impl Iterator<Item = &'a str>) -> Result<()> {
    let groups = [SCENARIOS, STARVED, SEQUENCES, KSELFTEST, NEIGHBOURS];
    let names: Vec<&str> = groups.into_iter().chain(scenarios).collect();
    match args
        .scenario
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(unknown) => bail!(
            "no scenario is called `{unknown}`: known are the groups {}, and {}",
            groups.join(", "),
            names[groups.len()..].join(", ")
        ),
    }
}

/// The name and the text of each scenario, in order. The first list is for any kernel. The second
/// is for a kernel in which allocations can be made to fail.
type Scripts = (Vec<(String, String)>, Vec<(String, String)>);

fn scripts(cx: &Context) -> Result<Scripts> {
    let (mut plain, mut starved) = (Vec::new(), Vec::new());
    for path in modules::files(&cx.root.join("tests/guest/parity/scenarios"))? {
        for (name, text) in split(&fs::read_to_string(&path)?) {
            let starves = text.lines().any(|line| line.starts_with("starve "));
            if starves { &mut starved } else { &mut plain }.push((name, text));
        }
    }
    Ok((plain, starved))
}

/// Splits the text of a file into its scenarios.
fn split(text: &str) -> Vec<(String, String)> {
    let mut scenarios: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("scenario ") {
            scenarios.push((name.to_owned(), String::new()));
        }
        if let Some((_, text)) = scenarios.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    scenarios
}

/// Plays the scenarios on one kernel, without a comparison. The kernel must not complain, no
/// promise may break, and the guest must get to the end. This is for kernels with debug checks.
pub fn alone(cx: &Context, kernel: &Kernel) -> Result<Tally> {
    let (plain, starved) = scripts(cx)?;
    let text = |scenarios: Vec<(String, String)>| -> String {
        scenarios.into_iter().map(|(_, text)| text).collect()
    };
    let random = SEQUENCES_START.to_owned() + &sequences::script(1, SEQUENCES_ALONE);
    // Failing each single allocation in turn would take hours.
    let starved = text(starved).replace("\nstarve ", &format!("\nstarve every={STARVED_ALONE} "));
    let mut tally = Tally::default();
    // Each script gets its own boot, because the module of a forced patch stays.
    for (name, script) in [
        ("parity-alone-sequences", random),
        ("parity-alone-starved", starved),
        ("parity-alone", text(plain)),
    ] {
        let part = Part {
            name,
            flavour: kernel.flavour,
            script,
            ..PLAYER
        };
        let transcript = transcript(cx, kernel, &part)?;
        for name in names(&[&transcript], &split(&part.script)) {
            let told = compare::alone(compare::find(&transcript, name));
            println!("  {} {name}", mark(told.is_empty()));
            for line in told.lines() {
                println!("      {line}");
            }
            tally += Tally::one(told.is_empty(), || format!("{name}\n{told}"));
        }
    }
    Ok(tally)
}

/// Returns the names of all scenarios that were played or were asked for.
fn names<'a>(transcripts: &[&'a Transcript], asked: &'a [(String, String)]) -> Vec<&'a str> {
    let played = transcripts
        .iter()
        .flat_map(|transcript| &transcript.scenarios);
    let played = played.map(|scenario| &scenario.name);
    let mut names: Vec<&str> = Vec::new();
    for name in played.chain(asked.iter().map(|(name, _)| name)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// Runs one part on both cores, and compares the transcripts.
fn side_by_side(cx: &Context, args: &cli::Parity, part: &Part) -> Result<Vec<Row>> {
    println!("\n{}", style(part.name).bold());
    let kernel = |core| build::kernel_of(cx, args.arch, core, part.flavour);
    let c = transcript(cx, &kernel(Core::C)?, part)?;
    let rust = transcript(cx, &kernel(Core::Rust)?, part)?;
    let asked = split(&part.script);
    let mut rows = Vec::new();
    let mut sequences = Row {
        name: format!("{SEQUENCES}, seed {}", args.seed),
        ..Row::default()
    };
    for name in names(&[&c, &rust], &asked) {
        let (found_c, found_rust) = (compare::find(&c, name), compare::find(&rust, name));
        let (row, told) = compare::scenario(name, found_c, found_rust);
        let sequence = part.name == "parity-sequences";
        if !told.is_empty() || !sequence {
            println!("  {} {name}", mark(row.passed()));
        }
        for line in told.lines() {
            println!("      {line}");
        }
        if let (true, false, Some(c), Some(rust)) = (sequence, row.passed(), found_c, found_rust) {
            println!("      seed {}, shortest prefix:", args.seed);
            for command in compare::shortest_prefix(c, rust) {
                println!("        {command}");
            }
        }
        if sequence {
            sequences.add(&row);
        } else {
            rows.push(row);
        }
    }
    if sequences.steps > 0 {
        rows.push(sequences);
    }
    if rows.is_empty() {
        bail!("{}: neither guest told anything", part.name);
    }
    Ok(rows)
}

/// The Rust core sends signals when the C core does. The C core ignores this.
const SIGNALS: &str = "livepatch.signal_delay=15000";

/// Runs one part on one core, and returns its transcript. A guest that does not get to the end is
/// no error here, because the missing steps differ from the other core's transcript.
fn transcript(cx: &Context, kernel: &Kernel, part: &Part) -> Result<Transcript> {
    let core = kernel.core;
    let entry = (part.entry, part.name);
    let initramfs = kit::initramfs(cx, kernel, part.userspace, entry, &part.script)?;
    let boot = Boot {
        kernel,
        initramfs: &initramfs,
        script: part.name,
        append: SIGNALS,
        deadline: part.deadline,
        silence: SILENCE,
        clock: Clock::Time,
        monitor: None,
    };
    let mut transcript = Transcript::default();
    let end = boot.run(cx, &mut |line| transcript.line(line));
    let path = kit::leave(cx, part.name, kernel, &transcript.text())?;
    let steps: usize = transcript.scenarios.iter().map(|s| s.steps.len()).sum();
    match end {
        Ok(end) => println!(
            "  {core} core: {steps} steps in {:.0} s; transcript: {}",
            end.took.as_secs_f32(),
            path.display()
        ),
        Err(error) => eprintln!("error: {error:#}"),
    }
    if !transcript.whole {
        if let Some(scenario) = transcript.scenarios.last_mut() {
            let last = scenario.steps.last_mut();
            let line = format!("x the guest with the {core} core ended here");
            last.into_iter()
                .for_each(|step| step.lines.push(line.clone()));
        }
    }
    Ok(transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_steps() {
        let (_dir, cx) = Context::for_test();
        let (plain, starved) = scripts(&cx).unwrap();
        let mut names: Vec<&str> = Vec::new();
        for (name, text) in plain.iter().chain(&starved) {
            assert!(!names.contains(&name.as_str()), "{name}");
            assert!(text.lines().count() > 1, "{name}");
            names.push(name);
        }
        assert!(names.len() > 10);
    }

    #[test]
    fn modules_that_scenarios_load_are_made() {
        let (_dir, cx) = Context::for_test();
        let (plain, starved) = scripts(&cx).unwrap();
        for (name, text) in plain.iter().chain(&starved) {
            for line in text.lines() {
                let Some(file) = line.trim_start_matches("- ").strip_prefix("load rela_") else {
                    continue;
                };
                let file = format!("rela_{}", file.split(' ').next().unwrap_or_default());
                let made = elf::VARIANTS.iter().any(|variant| variant.file == file);
                assert!(made, "{name}: {file}");
            }
        }
    }
}
