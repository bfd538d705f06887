// SPDX-License-Identifier: GPL-2.0
//! `klpctl man` and `klpctl completions`, from the definition of the command line.

use crate::cli::Cli;
use crate::failure::{Exit, Failure, Result};
use crate::output::Answer;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;
use std::io;

/// What is said of files in the man page.
const FILES: &[(&str, &str)] = &[
    ("/sys/kernel/livepatch", "The live patches"),
    (
        "/sys/kernel/debug/livepatch",
        "What their transitions wait for (Rust core)",
    ),
    (
        "/var/lib/klpctl/RELEASE",
        "The live patches that are installed for a kernel",
    ),
];

/// Runs `klpctl completions`.
pub fn completions(shell: Shell) -> Answer {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "klpctl", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    Answer::new(Exit::Done, text.clone(), &text)
}

/// Runs `klpctl man`.
pub fn page() -> Result<Answer> {
    let mut page = Vec::new();
    let written = write(&mut page);
    written.map_err(|error| Failure::of_system("cannot write the man page", &error))?;
    let text = String::from_utf8_lossy(&page).into_owned();
    Ok(Answer::new(Exit::Done, text.clone(), &text))
}

fn write(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone()).section("8");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    let mut roff = Roff::default();
    roff.control("SH", ["COMMANDS"]);
    for own in command
        .get_subcommands()
        .filter(|own| own.get_name() != "help")
    {
        let usage = own.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        entry(
            &mut roff,
            &usage,
            &own.get_about().unwrap_or_default().to_string(),
        );
        let about = own.get_about().unwrap_or_default().to_string();
        if let Some(long) = own.get_long_about().map(ToString::to_string) {
            let more = long.strip_prefix(&about).unwrap_or(&long);
            roff.control("sp", []);
            roff.text([roman(more.trim().replace('\n', " "))]);
        }
        for argument in own.get_arguments().filter(|own| !own.is_global_set()) {
            let help = argument.get_help().unwrap_or_default().to_string();
            if argument.get_id() != "help" && !help.is_empty() {
                roff.control("RS", []);
                entry(&mut roff, &argument.to_string(), &help);
                roff.control("RE", []);
            }
        }
    }
    roff.control("SH", ["OPTIONS"]);
    for argument in command.get_arguments() {
        let help = argument.get_help().unwrap_or_default().to_string();
        entry(&mut roff, &argument.to_string(), &help);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, name, meaning) in Exit::TABLE {
        entry(
            &mut roff,
            &(*exit as u8).to_string(),
            &format!("{meaning} ({name} in JSON)."),
        );
    }
    roff.control("SH", ["FILES"]);
    for (file, about) in FILES {
        entry(&mut roff, file, about);
    }
    roff.to_writer(page)
}

fn entry(roff: &mut Roff, what: &str, about: &str) {
    roff.control("TP", []);
    roff.text([bold(what)]);
    roff.text([roman(about)]);
}
