// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask boot`: boots a kernel, with a shell on request.

use crate::commands::cli;
use crate::guest::klpctl;
use crate::guest::suite::{Outcome, Suite, View, HELLO};
use crate::kernel::build;
use crate::tools::context::Context;
use anyhow::{bail, Result};
use std::io::IsTerminal;
use std::time::Duration;

/// A shell on the guest's console, for as long as the user likes.
static SHELL: Suite = Suite {
    deadline: Duration::MAX,
    image: klpctl::with,
    ..Suite::new("shell", "a shell", 0)
};

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Boot) -> Result<()> {
    if args.shell && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        bail!("--shell needs a terminal: without one, leave it out, or use `cargo xtask test`");
    }
    let kernel = build::kernel(cx, args.kernel.arch, args.kernel.core)?;
    if args.shell {
        println!(
            "Booting Linux {}; leave at any time with Ctrl-a x",
            kernel.release()?
        );
        return of(&SHELL, args).attach(cx, &kernel);
    }
    let Outcome { report, end } = of(&HELLO, args).run(cx, &kernel, View::Story)?;
    let end = end?;
    println!(
        "\n  up and down in {:.1} s; full log: {}",
        end.took.as_secs_f32(),
        end.log.display()
    );
    if report.failed() > 0 {
        bail!("the kernel boots, but not as it should: see above");
    }
    Ok(())
}

/// Returns `suite` with the kernel command line that the user wants.
fn of(suite: &Suite, args: &cli::Boot) -> Suite {
    Suite {
        append: args.append.clone().leak(),
        ..*suite
    }
}
