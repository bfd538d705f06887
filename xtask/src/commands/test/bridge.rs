// SPDX-License-Identifier: GPL-2.0
//! Formatting and lints of the code that goes into the kernel tree, with the tree's own settings.
//! Cargo does not know those, and does not see the code that only Kbuild compiles.

use crate::kernel::graft;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::step::Step;
use crate::tools::tally::Tally;
use anyhow::{ensure, Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::cmd;

/// Formats each file from its standard input. From a named file rustfmt would go on to the file's
/// modules, and the kernel tree has some of those at another place than the checkout.
const FORMAT_EACH: &str = "for file; do
    rustfmt --config-path \"$0\" <\"$file\" |
        diff --label \"$file\" --label formatted -u \"$file\" - || exit
done";

/// What checkpatch need not report: the exported functions are not in C, and the types of ELF have
/// names in mixed case.
const NOT_REPORTED: &str = "EXPORT_SYMBOL,CAMELCASE";

/// Make's record of the command that compiled the crate, in the kernel's object directory.
const RECORD: &str = "kernel/livepatch/linux/.livepatch_main.o.cmd";

/// Checks what is the same for every architecture: formatting, and the C code.
pub fn check(cx: &Context, kernel: &Kernel) -> Tally {
    let mut total = format(cx, kernel);
    total += checkpatch(cx, kernel);
    total
}

/// Checks the formatting with the tree's settings.
fn format(cx: &Context, kernel: &Kernel) -> Tally {
    let check = || -> Result<()> {
        let (sh, files) = (cx.shell()?, ours(cx, &["rs"])?);
        let settings = kernel.src.join(".rustfmt.toml");
        let command = cmd!(sh, "sh -c {FORMAT_EACH} {settings} {files...}");
        let hint = format!(
            "write the output of `rustfmt --config-path {} <FILE` back to the file",
            settings.display()
        );
        let step = Step::new(
            cx,
            "Check the formatting of what goes into the tree",
            command,
        );
        step.hint(&hint).run().map(drop)
    };
    Tally::check(check())
}

/// Checks the C code with the tree's checkpatch.
fn checkpatch(cx: &Context, kernel: &Kernel) -> Tally {
    let check = || -> Result<()> {
        provision::ensure(cx, &[provision::PERL])?;
        let script = kernel.src.join("scripts/checkpatch.pl");
        let (sh, files) = (cx.shell()?, ours(cx, &["c", "h"])?);
        // The script lists the headers of its tree, and leaves the list in its current directory.
        let scratch = tempfile::tempdir()?;
        sh.change_dir(scratch.path());
        sh.create_dir("include")?;
        let command = cmd!(
            sh,
            "perl {script} --no-tree --root . --strict --terse --show-types --no-summary
                --ignore {NOT_REPORTED} -f {files...}"
        );
        Step::new(cx, "Check the C code with checkpatch", command)
            .hint("mend these lines; checkpatch.rst in the tree's Documentation/dev-tools explains the types")
            .run()
            .map(drop)
    };
    Tally::check(check())
}

/// Returns the files with one of these extensions that go into the tree.
fn ours(cx: &Context, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = graft::ours(cx)?;
    files.retain(|file| {
        extensions
            .iter()
            .any(|wanted| file.extension() == Some(wanted.as_ref()))
    });
    ensure!(
        !files.is_empty(),
        "no file goes into the tree: nothing was checked"
    );
    Ok(files)
}

/// Runs clippy over the whole crate as Kbuild compiles it, with the kernel tree's lints and
/// settings.
pub fn lint(cx: &Context, kernel: &Kernel) -> Tally {
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
        word if word.starts_with("--emit=obj=") => &metadata,
        word if word.starts_with("--emit=") => "",
        word => word,
    });
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words
        .contains(&driver)
        .then(|| words.join(" ") + " -Dwarnings")
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
            "OBJTREE=/o /bin/clippy-driver --edition=2021 -Wunused \
             --emit=metadata=/scratch/livepatch.rmeta /src/a.rs -Dwarnings"
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
