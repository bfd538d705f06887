// SPDX-License-Identifier: GPL-2.0
//! `klpctl`: see, load, unload and wait for the live patches of a running kernel.

use std::process::ExitCode;

fn main() -> ExitCode {
    klpctl::main()
}
