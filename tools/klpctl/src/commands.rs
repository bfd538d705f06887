// SPDX-License-Identifier: GPL-2.0
//! The commands, one module each.

mod boot;
mod force;
mod history;
mod info;
mod install;
mod list;
mod load;
mod man;
mod status;
mod transition;
mod unload;
mod wait;
mod why;

use crate::cli::Command;
use crate::failure::Result;
use crate::output::{Answer, Output};
use crate::system::System;

/// Runs a command.
pub fn run(command: &Command, system: &System, output: &Output) -> Result<Answer> {
    match command {
        Command::Status => status::run(system),
        Command::List { verbose } => list::run(system, *verbose),
        Command::Info { patch } => info::run(system, patch),
        Command::Load {
            patch, patience, ..
        } => load::run(system, output, patch.as_deref(), *patience),
        Command::Unload {
            patch, patience, ..
        } => unload::run(system, output, patch.as_deref(), *patience),
        Command::Wait { patch, patience } => wait::run(system, output, patch.as_deref(), *patience),
        Command::Why { patch, verbose } => why::run(system, patch.as_deref(), *verbose),
        Command::History { patch } => history::run(system, patch.as_deref()),
        Command::Force { patch, yes } => force::run(system, output, patch, *yes),
        Command::Install { file } => install::install(system, file),
        Command::Uninstall { patch, kernel } => {
            install::uninstall(system, patch, kernel.as_deref())
        }
        Command::Boot { patience } => boot::run(system, output, *patience),
        Command::Completions { shell } => Ok(man::completions(*shell)),
        Command::Man => man::page(),
    }
}
