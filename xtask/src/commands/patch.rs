// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask patch`: makes a live patch module of a patch of the source, tests it in a guest,
//! and compares with `klp-build`.

mod compare;

use crate::commands::cli;
use crate::guest::initramfs;
use crate::guest::modules;
use crate::guest::suite::{Suite, View};
use crate::guest::userspace::Userspace;
use crate::kernel::build;
use crate::kernel::flavour::Core;
use crate::kernel::make::Kernel;
use crate::kernel::patch::base::Base;
use crate::kernel::patch::{self, Module, Notes};
use crate::tools::context::Context;
use crate::tools::tally::{self, Tally};
use crate::tools::target;
use anyhow::{bail, ensure, Context as _, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of the suite that runs the project's own patches, and of its directory.
pub const NAME: &str = "patches";

const ABOUT: &str = "live patches made from patches of the source";

/// How the name of a patch's script ends in the place of `patch`.
const CHECK: &str = "check";

/// How long a guest may take.
const DEADLINE: Duration = Duration::from_secs(8 * 60);

/// A patch to test.
struct Trial {
    patch: PathBuf,
    /// The script that tells whether it has its effect.
    check: Option<PathBuf>,
    /// The name of its module.
    name: String,
}

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Patch) -> Result<()> {
    match &args.what {
        cli::PatchWhat::Build(args) => build(cx, args),
        cli::PatchWhat::Test(args) => test(cx, args),
        cli::PatchWhat::Compare(args) => compare::run(cx, args),
    }
}

fn build(cx: &Context, args: &cli::PatchBuild) -> Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(
            args.patch
                .with_extension("ko")
                .file_name()
                .unwrap_or_default(),
        ),
    };
    let name = name(&out)?;
    let base = match &args.build_dir {
        Some(dir) => Base::of_directory(cx, dir, cx.tree.as_deref())?,
        None => Base::of_kernel(cx, &built(cx, Core::Rust)?)?,
    };
    if args.running {
        base.check_running()?;
    }
    let start = Instant::now();
    let notes = Notes {
        cves: &args.cve,
        builder: args.builder.as_deref(),
    };
    let module = patch::build(cx, &base, &args.patch, &name, notes)?;
    write(&out, &module.bytes)?;
    describe(&module);
    println!(
        "{}: for Linux {}, made in {:.1} s",
        out.display(),
        base.read_text("include/config/kernel.release")?.trim(),
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

fn test(cx: &Context, args: &cli::PatchTest) -> Result<()> {
    let name = name(&args.patch.with_extension("ko"))?;
    let kernel = built(cx, args.core)?;
    let trial = Trial {
        patch: args.patch.clone(),
        check: args.check.clone(),
        name,
    };
    let tally = in_guest(cx, &kernel, &[trial], View::Story)?;
    println!("{tally}");
    tally::conclude(tally.failed())
}

/// Returns the heading of the suite.
pub fn title(kernel: &Kernel) -> String {
    let (target, core) = (kernel.target.name, kernel.core.name());
    format!("{NAME} on {target} with the {core}: {ABOUT}")
}

/// Makes a module of each patch of `tests/guest/patches/`, and tests all of them in one guest.
pub fn of(cx: &Context, kernel: &Kernel) -> Result<Tally> {
    let mut tests = Vec::new();
    for patch in modules::files(&cx.root.join("tests/guest").join(NAME))? {
        if patch
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            let name = name(&patch.with_extension("ko"))?;
            tests.push(Trial {
                check: Some(patch.with_extension(CHECK)),
                patch,
                name,
            });
        }
    }
    in_guest(cx, kernel, &tests, View::Results)
}

/// Makes the modules of patches, and tests them in one guest. A patch without a module is a failure,
/// and the others are tested.
fn in_guest(cx: &Context, kernel: &Kernel, tests: &[Trial], view: View) -> Result<Tally> {
    let base = Base::of_kernel(cx, kernel)?;
    let (mut tally, mut files) = (Tally::default(), Vec::new());
    for Trial { patch, check, name } in tests {
        let script = match check {
            Some(path) => fs::read(path)
                .with_context(|| format!("cannot read the script {}", path.display()))?,
            None => b":\n".to_vec(),
        };
        match patch::build(cx, &base, patch, name, Notes::default()) {
            Ok(module) => {
                describe(&module);
                files.push((format!("{NAME}/{name}.ko"), module.bytes));
                files.push((format!("{NAME}/{name}.{CHECK}"), script));
            }
            Err(error) => tally += Tally::failure(&error).within(name),
        }
    }
    if files.is_empty() {
        return Ok(tally);
    }
    let userspace = initramfs::base(cx, kernel, Userspace::Small)?;
    let title = "Build what tests a patch";
    let names = (NAME, NAME);
    let initramfs = initramfs::extended(cx, kernel, &userspace, names, title, |archive, _| {
        for (name, bytes) in &files {
            archive.file(name, 0o644, bytes)?;
        }
        Ok(())
    })?;
    let suite = Suite {
        deadline: DEADLINE,
        ..Suite::new(NAME, ABOUT, 0)
    };
    tally += suite.run_in(cx, kernel, &initramfs, view)?.tally();
    Ok(tally)
}

/// Returns a kernel that xtask builds.
fn built(cx: &Context, core: Core) -> Result<Kernel> {
    build::kernel(cx, target::find(target::DEFAULT)?, core)
}

/// Returns the name of the module in a file.
fn name(out: &Path) -> Result<String> {
    ensure!(
        out.extension().is_some_and(|extension| extension == "ko"),
        "--out {}: the name of a module ends in .ko",
        out.display()
    );
    let name = out
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // `MODULE_NAME_LEN` of the kernel, without the NUL.
    if name.is_empty() || name.len() > 55 || !name.chars().all(fits) {
        bail!(
            "`{name}` can't be the name of a module: letters, digits, `-` and `_` can, 55 of them\n\
             next: name the module with --out NAME.ko, or rename the patch"
        );
    }
    Ok(name)
}

/// Writes the module. The file is complete or as it was.
fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    let dir = match out.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let cannot = || {
        format!(
            "cannot write {}; next: name another place with --out",
            out.display()
        )
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .with_context(cannot)?;
    file.persist(out).with_context(cannot)?;
    Ok(())
}

fn describe(module: &Module) {
    for (object, functions) in &module.functions {
        println!("  functions for {object}: {}", functions.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_a_name_that_the_kernel_takes() {
        assert_eq!(name(Path::new("/a b/fix-1_x.ko")).unwrap(), "fix-1_x");
        for bad in [
            "fix.o",
            ".ko",
            "a b.ko",
            "a.b.ko",
            &format!("{}.ko", "a".repeat(56)),
        ] {
            assert!(name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_is_written_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a.ko");
        write(&out, b"one").unwrap();
        write(&out, b"two").unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"two");
        assert!(write(&dir.path().join("none/a.ko"), b"").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_patch_of_the_suite_has_a_script() {
        let (_dir, cx) = Context::for_test();
        let files = modules::files(&cx.root.join("tests/guest").join(NAME)).unwrap();
        let patches = files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "patch"));
        assert_eq!(patches.clone().count(), 6);
        for patch in patches {
            assert!(patch.with_extension(CHECK).exists(), "{}", patch.display());
            name(&patch.with_extension("ko")).unwrap();
        }
    }
}
