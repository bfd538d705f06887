// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask package`: packages of `klpctl`, for Debian and for distributions with RPM.

use crate::commands::cli;
use crate::guest::klpctl;
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::need::program;
use crate::tools::provision;
use crate::tools::target::Target;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::step;
use xshell::cmd;

/// Where the sources of the packages are, below the project's root.
const SOURCES: &str = "tools/klpctl/package";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the program prints of itself, by its arguments, and where it goes.
const PRINTED: &[(&str, &str)] = &[
    ("man", "usr/share/man/man8/klpctl.8"),
    (
        "completions bash",
        "usr/share/bash-completion/completions/klpctl",
    ),
    ("completions zsh", "usr/share/zsh/site-functions/_klpctl"),
    (
        "completions fish",
        "usr/share/fish/vendor_completions.d/klpctl.fish",
    ),
];

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Package) -> Result<()> {
    let mut needs = provision::for_build(args.arch);
    needs.push(program("dpkg-deb", &["dpkg"]));
    needs.push(program("rpmbuild", &["rpm"]));
    provision::ensure(cx, &needs)?;
    let built = klpctl::build(cx, args.arch)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    let work = tempfile::tempdir()?;
    let files = work.path().join("files");
    fill(cx, &files, &built)?;
    for package in [
        deb(cx, args.arch, work.path(), &files, &args.out)?,
        rpm(cx, args.arch, work.path(), &files, &args.out)?,
    ] {
        println!("{}", package.display());
    }
    Ok(())
}

/// Puts all files of a package below `files`.
fn fill(cx: &Context, files: &Path, built: &Path) -> Result<()> {
    put(files, "usr/sbin/klpctl", &fs::read(built)?, 0o755)?;
    let unit = fs::read(cx.root.join(SOURCES).join("klpctl.service"))?;
    put(files, "usr/lib/systemd/system/klpctl.service", &unit, 0o644)?;
    for (arguments, path) in PRINTED {
        // The program may be for another machine, so this one's is asked.
        let line = format!("run --quiet --package klpctl -- {arguments}");
        let output = cargo::command(cx, &line)?.output()?;
        anyhow::ensure!(output.status.success(), "`klpctl {arguments}` fails here");
        put(files, path, &output.stdout, 0o644)?;
    }
    Ok(())
}

fn put(files: &Path, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let path = files.join(path);
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(
        &path,
        fs::Permissions::from_mode(mode),
    )?)
}

fn deb(cx: &Context, target: &Target, work: &Path, files: &Path, out: &Path) -> Result<PathBuf> {
    let root = work.join("deb");
    let sh = cx.shell()?;
    cmd!(sh, "cp -a {files} {root}").quiet().run()?;
    let control = fs::read_to_string(cx.root.join(SOURCES).join("control"))?
        .replace("@VERSION@", VERSION)
        .replace("@ARCHITECTURE@", target.debian_arch);
    put(&root, "DEBIAN/control", control.as_bytes(), 0o644)?;
    let package = out.join(format!("klpctl_{VERSION}_{}.deb", target.debian_arch));
    let command: Command = cmd!(sh, "dpkg-deb --root-owner-group --build {root} {package}").into();
    step::run(cx, &format!("Make {}", package.display()), command)?;
    Ok(package)
}

fn rpm(cx: &Context, target: &Target, work: &Path, files: &Path, out: &Path) -> Result<PathBuf> {
    let sh = cx.shell()?;
    let (top, spec) = (work.join("rpm"), cx.root.join(SOURCES).join("klpctl.spec"));
    let machine = target.triple.split('-').next().unwrap_or(target.rust_arch);
    // Macros have no other way in.
    let macros = [
        format!("_topdir {}", top.display()),
        format!("content {}", files.display()),
        format!("version {VERSION}"),
    ];
    let defines = macros.iter().flat_map(|own| ["--define", own.as_str()]);
    let command: Command = cmd!(sh, "rpmbuild -bb --target {machine} {defines...} {spec}").into();
    let name = format!("klpctl-{VERSION}-1.{machine}.rpm");
    step::run(cx, &format!("Make {name}"), command)?;
    let package = out.join(&name);
    let made = top.join("RPMS").join(machine).join(&name);
    fs::copy(&made, &package).with_context(|| format!("there is no {}", made.display()))?;
    Ok(package)
}
