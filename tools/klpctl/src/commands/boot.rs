// SPDX-License-Identifier: GPL-2.0
//! `klpctl boot`: loads what is installed for this kernel.

use super::load;
use crate::cli::Patience;
use crate::failure::{Exit, Result};
use crate::output::{Answer, Output};
use crate::system::System;

/// The word on the kernel's command line that keeps live patches from being loaded.
const OFF: &str = "klpctl.boot=0";

/// Runs the command.
pub fn run(system: &System, output: &Output, patience: Patience) -> Result<Answer> {
    if system.booted_with(OFF) {
        let text = format!("{OFF} is on the kernel's command line: no live patch is loaded.");
        let none: [(); 0] = [];
        return Ok(Answer::new(Exit::Done, text, &none));
    }
    load::run(system, output, None, patience)
}
