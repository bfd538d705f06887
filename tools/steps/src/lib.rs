// SPDX-License-Identifier: GPL-2.0
//! How the project's programs work on a host, whatever they make.
//!
//! | module | concern |
//! |---|---|
//! | [`workplace`] | the cache directory and its locks |
//! | [`place`] | filling the cache with complete entries |
//! | [`step`] | running one external program: progress, log, deadline |
//! | [`git`] | running git in directories of the program's own |

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod git;
pub mod place;
pub mod step;
pub mod workplace;

/// Prints the error of a program, if there is one, with what to do about a full disk. Returns the
/// program's exit status.
pub fn conclude(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error:#}");
    if place::is_full(&error) {
        eprintln!("next: {}", place::FULL);
    }
    ExitCode::FAILURE
}
