// SPDX-License-Identifier: GPL-2.0
//! Clippy, over the whole crate as Kbuild compiles it. Cargo does not know the tree's lints and
//! settings, and does not see the code that only Kbuild compiles.

use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::tally::Tally;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use steps::step::Step;
use xshell::cmd;

/// Make's record of the command that compiled the crate, in the kernel's object directory.
const RECORD: &str = "kernel/livepatch/linux/.livepatch_main.o.cmd";

/// Runs clippy over the whole crate as Kbuild compiles it, with the kernel tree's lints and
/// settings.
pub fn check(cx: &Context, kernel: &Kernel) -> Tally {
    let name = kernel.target.name;
    let driver = kernel.tools.rustc.sysroot.join("bin/clippy-driver");
    if !driver.exists() {
        println!("Check the {name} core with the kernel's clippy: skipped, its rustc comes without clippy");
        return Tally {
            skipped: 1,
            ..Tally::default()
        };
    }
    let check = || -> Result<()> {
        let title = format!("Check the {name} core with the kernel's clippy");
        let scratch = tempfile::tempdir()?;
        Step::new(cx, &title, command(cx, kernel, &driver, scratch.path())?)
            .hint("mend what it points to")
            .run()
            .map(drop)
    };
    Tally::check(check())
}

fn command(cx: &Context, kernel: &Kernel, driver: &Path, scratch: &Path) -> Result<Command> {
    let record = kernel.out.join(RECORD);
    let record =
        fs::read_to_string(&record).with_context(|| format!("cannot read {}", record.display()))?;
    let line = with_clippy(
        &record,
        &driver.to_string_lossy(),
        &scratch.to_string_lossy(),
    )
    .with_context(|| format!("{RECORD} does not say how the crate was compiled"))?;
    let sh = cx.shell()?;
    let mut command = Command::from(cmd!(sh, "sh -c {line}"));
    kernel.tools.equip(&mut command)?;
    command
        .current_dir(&kernel.out)
        .env("CLIPPY_CONF_DIR", &kernel.src)
        // Kernel code uses unstable features. Kbuild sets this variable too.
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// Returns the compiler's command from make's record, with clippy in the compiler's place.
///
/// Clippy writes only to the directory `scratch`. The output must not be a device such as
/// `/dev/null`: the compiler replaces its output by a new file, whatever it was.
fn with_clippy(record: &str, driver: &str, scratch: &str) -> Option<String> {
    let (_, line) = record.lines().next()?.split_once(" := ")?;
    let compile = line.split(';').next()?;
    let metadata = format!("--emit=metadata={scratch}/livepatch.rmeta");
    let words = compile.split(' ').map(|word| match word {
        "rustc" => driver,
        word if word.starts_with("--emit=") => "",
        word => word,
    });
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.extend([metadata.as_str(), "-Dwarnings"]);
    words.contains(&driver).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clippy_gets_what_the_compiler_got() {
        let record =
            "savedcmd_a.o := OBJTREE=/o rustc --edition=2021 -Wunused --emit=dep-info=.a.o.d \
                      --emit=obj=a.o /src/a.rs  ; objtool a.o\n\nsource_a.o := /src/a.rs\n";
        assert_eq!(
            with_clippy(record, "/bin/clippy-driver", "/scratch").unwrap(),
            "OBJTREE=/o /bin/clippy-driver --edition=2021 -Wunused /src/a.rs \
             --emit=metadata=/scratch/livepatch.rmeta -Dwarnings"
        );
        assert_eq!(
            with_clippy(
                "savedcmd_a.o := gcc -c a.c\n",
                "/bin/clippy-driver",
                "/scratch"
            ),
            None
        );
    }
}
