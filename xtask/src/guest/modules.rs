// SPDX-License-Identifier: GPL-2.0
//! Compiles modules and programs for a guest, against the kernel's object directory.
//!
//! Sources are copied to the place where they are built, so neither the kernel tree nor the
//! checkout gets object files. A copy is touched only when its source has changed, so `make`
//! rebuilds only that.

use crate::kernel::flavour::Core;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use anyhow::{bail, Context as _, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::place;
use steps::step;

/// Where the samples are, below the object directory.
pub const SAMPLES: &str = "samples/livepatch";
/// Where the samples in Rust are, if the kernel has them, below the object directory.
const RUST_SAMPLES: &str = "samples/rust";
/// Where the Rust core's unit tests are, below the object directory.
const UNIT_TESTS: &str = "kernel/livepatch/linux";
/// Where upstream's selftests are, below the source.
const SELFTESTS: &str = "tools/testing/selftests/livepatch";

/// The directory, beside the suites, with files that programs of several suites include.
const SHARED: &str = "shared";

/// Copies a suite's sources to `dir`, and the shared sources beside them. Programs include the
/// shared sources by a relative path.
pub fn mirror_suite(cx: &Context, dir: &Path, name: &str) -> Result<PathBuf> {
    let (sources, work) = (cx.root.join("tests/guest"), dir.join(name));
    for part in [SHARED, name] {
        mirror(&sources.join(part), &dir.join(part))?;
    }
    Ok(work)
}

/// Returns upstream's sample modules, the Rust core's unit tests if the kernel has that core, and
/// our own test modules, which it builds.
pub fn built(cx: &Context, kernel: &Kernel, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut modules = objects(&kernel.out.join(SAMPLES)).unwrap_or_default();
    if modules.is_empty() {
        bail!(
            "{} has no sample modules: CONFIG_SAMPLE_LIVEPATCH=m and `make modules` make them",
            kernel.out.join(SAMPLES).display()
        );
    }
    modules.extend(objects(&kernel.out.join(RUST_SAMPLES)).unwrap_or_default());
    if kernel.core == Core::Rust {
        modules.extend(objects(&kernel.out.join(UNIT_TESTS))?);
    }
    let work = dir.join("modules");
    mirror(&cx.root.join("tests/guest/modules"), &work)?;
    make(cx, kernel, &work, "Build the guest's test modules")?;
    modules.extend(objects(&work)?);
    Ok(modules)
}

/// Returns upstream's livepatch selftests, ready to run. The directory is a copy of the one in the
/// tree, with its modules and its program built.
pub fn selftests(cx: &Context, kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
    let work = dir.join("selftests");
    mirror(&kernel.src.join(SELFTESTS), &work)?;
    make(
        cx,
        kernel,
        &work.join("test_modules"),
        "Build upstream's test modules",
    )?;
    for source in files(&work)?
        .into_iter()
        .filter(|path| path.extension() == Some("c".as_ref()))
    {
        compile(cx, kernel, &source)?;
    }
    Ok(work)
}

/// Builds the modules in a directory against a kernel.
pub fn make(cx: &Context, kernel: &Kernel, work: &Path, title: &str) -> Result<()> {
    let command = |target: &str| -> Result<Command> {
        let mut make = kernel.make(cx)?;
        make.arg(format!("M={}", work.display())).arg(target);
        if kernel.flavour.llvm(kernel.target).is_some() {
            // This table for linkers lists symbols by number. A tool that changes a module's
            // symbols can't keep the table.
            make.arg("KCFLAGS=-fno-addrsig");
        }
        Ok(make)
    };
    // make does not know that an external module depends on the kernel's configuration.
    let (own, built) = (kernel.out.join(".config"), work.join(".built-for"));
    let config = fs::read(&own).with_context(|| format!("cannot read {}", own.display()))?;
    if fs::read(&built).ok().as_ref() != Some(&config) {
        step::run(
            cx,
            "Remove modules of another configuration",
            command("clean")?,
        )?;
    }
    step::run(cx, title, command("modules")?)?;
    fs::write(&built, config).with_context(|| format!("cannot write {}", built.display()))
}

/// Compiles a program for the guest. It is static, so it depends on nothing in the guest.
pub fn compile(cx: &Context, kernel: &Kernel, source: &Path) -> Result<PathBuf> {
    compile_all(cx, kernel, &source.with_extension(""), &[source])
}

/// Like [`compile`], for all sources in a directory. The program is named after the directory.
pub fn compile_directory(cx: &Context, kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
    let mut sources = files(dir)?;
    sources.retain(|path| path.extension() == Some("c".as_ref()));
    compile_all(cx, kernel, &dir.join(name(dir)), &sources)
}

fn compile_all(
    cx: &Context,
    kernel: &Kernel,
    program: &Path,
    sources: &[impl AsRef<Path> + AsRef<OsStr>],
) -> Result<PathBuf> {
    if modified(program) > newest(sources)? {
        return Ok(program.to_owned());
    }
    let triple = format!("{}-unknown-linux-gnu", kernel.target.rust_arch);
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let compiler = cc::Build::new()
        .cargo_metadata(false)
        .compiler(format!("{}gcc", kernel.target.cross_compile()))
        .host(&host)
        .target(&triple)
        .opt_level(2)
        .debug(false)
        .try_get_compiler()
        .context("cannot work out how to compile for the guest")?;
    let mut command = compiler.to_command();
    command.args(["-static", "-o"]).arg(program).args(sources);
    step::run(cx, &format!("Compile {}", name(program)), command)?;
    Ok(program.to_owned())
}

/// Returns when the sources, or headers that they may include, were last changed.
fn newest(sources: &[impl AsRef<Path>]) -> Result<Option<std::time::SystemTime>> {
    let mut newest = None;
    for source in sources.iter().map(AsRef::as_ref) {
        newest = newest.max(modified(source));
        let own = source.parent().unwrap_or(source);
        for dir in [own, &own.with_file_name(SHARED)] {
            let files = if dir.is_dir() {
                files(dir)?
            } else {
                Vec::new()
            };
            let headers = files
                .iter()
                .filter(|path| path.extension() == Some("h".as_ref()));
            newest = newest.max(headers.filter_map(|path| modified(path)).max());
        }
    }
    Ok(newest)
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// Copies a directory of sources. Leaves unchanged copies alone, and files that were built in `to`.
pub fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&entry.path(), &copy)?;
        } else if fs::read(entry.path())? != fs::read(&copy).unwrap_or_default() || !copy.exists() {
            place::remove(&copy)?;
            // The copy keeps the permissions, because the scripts are run directly.
            fs::copy(entry.path(), &copy)
                .with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
}

/// Returns the files in a directory, sorted.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    entries(dir, Path::is_file)
}

/// Returns the directories in a directory, sorted.
pub fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    entries(dir, Path::is_dir)
}

fn entries(dir: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = list.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| wanted(path));
    paths.sort();
    Ok(paths)
}

/// Returns the modules in a directory, sorted.
pub fn objects(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = files(dir)?;
    paths.retain(|path| path.extension() == Some("ko".as_ref()));
    Ok(paths)
}

/// Returns the last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_touched_only_when_its_source_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/a.c"), "one").unwrap();
        mirror(&from, &to).unwrap();
        fs::write(to.join("sub/a.o"), "built").unwrap();
        let before = modified(&to.join("sub/a.c"));
        mirror(&from, &to).unwrap();
        assert_eq!(modified(&to.join("sub/a.c")), before);
        fs::write(from.join("sub/a.c"), "two").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("sub/a.c")).unwrap(), "two");
        assert!(to.join("sub/a.o").exists());
    }

    #[test]
    fn a_program_is_as_old_as_the_newest_header_beside_it_or_shared() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let write = |name: &str, seconds| {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            let file = fs::File::create(path(name)).unwrap();
            file.set_modified(at(seconds)).unwrap();
        };
        write("suite/a.c", 1);
        write("suite/other.c", 9);
        let sources = [path("suite/a.c")];
        assert_eq!(newest(&sources).unwrap(), Some(at(1)));
        write("suite/a.h", 2);
        assert_eq!(newest(&sources).unwrap(), Some(at(2)));
        write("shared/b.h", 3);
        assert_eq!(newest(&sources).unwrap(), Some(at(3)));
    }
}
