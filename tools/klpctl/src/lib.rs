// SPDX-License-Identifier: GPL-2.0
//! See, load, unload and wait for the live patches of a running kernel.
//!
//! | module | concern |
//! |---|---|
//! | [`cli`] | every command and flag; the man page and completions are made from it |
//! | [`failure`] | what can go wrong: cause, next step, and the table of exit codes |
//! | [`system`] | reads and changes the system, below a root directory that tests can make up |
//! | [`module`] | what the file of a module says of itself |
//! | [`commands`] | one module per command |
//! | [`output`] | text for people and JSON for programs; the progress of a wait |

pub mod cli;
pub mod commands;
pub mod failure;
pub mod module;
pub mod output;
pub mod system;

use clap::error::ErrorKind;
use clap::Parser;
use cli::Cli;
use failure::Exit;
use output::Output;
use std::process::ExitCode;
use system::System;

/// Runs the program on the machine that it is started on.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that has closed its end of the pipe is no reason to fail.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            }
            .into();
        }
    };
    let output = Output::new(cli.json);
    let result = commands::run(&cli.command, &System::of_machine(), &output);
    output.conclude(result).into()
}
