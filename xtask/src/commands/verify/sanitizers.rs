// SPDX-License-Identifier: GPL-2.0
//! Runs the host tests under Miri and under the sanitizers of the compiler.
//!
//! All need a nightly toolchain. The address sanitizer runs only if there is no Miri. The thread
//! sanitizer needs the source of the library.

use crate::commands::verify::findings::Findings;
use crate::tools::cargo;
use crate::tools::context::Context;
use anyhow::{bail, Result};
use std::path::PathBuf;

/// The target that the tests under a sanitizer are built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages to test: the core, the stand-in for the kernel crate, and the tests of both.
const PACKAGES: &str = "--package livepatch_core --package kernel --package host-tests";

/// The components of the nightly toolchain.
struct Nightly {
    miri: bool,
    /// The library's source, so that it can be built with a sanitizer too.
    library: bool,
}

/// Returns the components of the nightly toolchain, if there is one.
fn probe(cx: &Context) -> Result<Option<Nightly>> {
    let says = |words: &str| -> Result<Option<String>> {
        let output = cargo::nightly(cx, words)?.output();
        let output = output.ok().filter(|output| output.status.success());
        Ok(output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    let Some(sysroot) = says("rustc --print sysroot")? else {
        return Ok(None);
    };
    let library = PathBuf::from(sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    Ok(Some(Nightly {
        miri: says("cargo miri --version")?.is_some(),
        library: library.exists(),
    }))
}

/// Runs every check that the nightly toolchain allows.
pub fn run(cx: &Context) -> Result<Findings> {
    let Some(nightly) = probe(cx)? else {
        bail!(
            "there is no nightly toolchain, which Miri and the sanitizers take\n\
             next: run `rustup toolchain install nightly`"
        );
    };
    let mut findings = Findings {
        passed: true,
        figures: Vec::new(),
    };
    if nightly.miri {
        miri(cx, &mut findings)?;
    } else {
        findings.figures.push(
            "Miri: not run, the nightly toolchain has none \
             (`rustup component add miri --toolchain nightly`); in its place:"
                .into(),
        );
        sanitizer(cx, &mut findings, "address", "")?;
    }
    match nightly.library {
        true => sanitizer(cx, &mut findings, "thread", "-Zbuild-std")?,
        false => findings.figures.push(
            "thread sanitizer: not run, it takes the library's source \
             (`rustup component add rust-src --toolchain nightly`)"
                .into(),
        ),
    }
    Ok(findings)
}

/// Runs the tests under Miri, with few random inputs because Miri interprets the code.
fn miri(cx: &Context, findings: &mut Findings) -> Result<()> {
    let mut command = cargo::nightly(cx, &format!("cargo miri test {PACKAGES}"))?;
    command
        // The property tests look for known regressions in files.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "8")
        .env("CARGO_TARGET_DIR", cx.root.join("target/miri"));
    let tested = cargo::tests(cx, "Run the tests under Miri", command);
    report(findings, "Miri", &tested);
    Ok(())
}

/// Runs the tests under one sanitizer. The address sanitizer also finds leaks.
fn sanitizer(cx: &Context, findings: &mut Findings, name: &str, more: &str) -> Result<()> {
    // Tests in documentation are left out, because they are built without the flags.
    let words = format!("cargo test --target {TARGET} {PACKAGES} --lib --tests {more}");
    let mut command = cargo::nightly(cx, &words)?;
    command.env("RUSTFLAGS", format!("-Zsanitizer={name}")).env(
        "CARGO_TARGET_DIR",
        cx.root.join("target/sanitizer").join(name),
    );
    let title = format!("Run the tests under the {name} sanitizer");
    let tested = cargo::tests(cx, &title, command);
    report(findings, &format!("{name} sanitizer"), &tested);
    Ok(())
}

fn report(findings: &mut Findings, name: &str, tested: &cargo::Tested) {
    let clean = tested.tally.failed() == 0 && tested.tally.passed > 0;
    findings.passed &= clean;
    let verdict = if clean { "clean" } else { "not clean" };
    findings
        .figures
        .push(format!("{name}: {verdict}, {} tests", tested.tally.passed));
}
