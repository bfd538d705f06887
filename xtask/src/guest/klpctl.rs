// SPDX-License-Identifier: GPL-2.0
//! Builds `klpctl` for a guest, or for a machine: one static program for each architecture.

use crate::guest::archive::Archive;
use crate::guest::initramfs;
use crate::guest::modules;
use crate::guest::userspace::Userspace;
use crate::kernel::make::Kernel;
use crate::kernel::rustc;
use crate::tools::cargo;
use crate::tools::context::Context;
use crate::tools::target::Target;
use anyhow::{ensure, Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use steps::step::Step;

/// The largest that the program may be. It has to fit in an initramfs.
const MOST_BYTES: u64 = 3 << 20;

/// The suite whose modules hold transitions up.
pub const SCENES: &str = "transitions";

/// Builds the program. It depends on nothing on the machine that it runs on.
pub fn build(cx: &Context, target: &Target) -> Result<PathBuf> {
    let triple = target.triple;
    let mut arguments =
        format!("build --package klpctl --bin klpctl --profile small --target {triple}");
    let rustc = rustc::chosen(cx)?;
    let lacks_library = !rustc.sysroot.join("lib/rustlib").join(triple).is_dir();
    if lacks_library {
        // An empty list of features leaves out what prints backtraces.
        arguments.push_str(" -Zbuild-std=std,panic_abort -Zbuild-std-features=");
    }
    let mut command = cargo::command(cx, &arguments)?;
    if lacks_library {
        let _lock = cx.lock("tools")?;
        let library = match rustc.library(cx) {
            Some(library) => library,
            None => rustc.get_library(cx)?,
        };
        // Cargo looks for the source in rustc's own directory, or where this variable says.
        command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    let linker = format!(
        "CARGO_TARGET_{}_LINKER",
        triple.replace('-', "_").to_uppercase()
    );
    // The user's CARGO_TARGET_DIR may be elsewhere.
    let dir = cx.root.join("target");
    command
        .env("CARGO_TARGET_DIR", &dir)
        .env(linker, format!("{}gcc", target.cross_compile()))
        .env(
            "RUSTFLAGS",
            "-Ctarget-feature=+crt-static -Crelocation-model=static",
        );
    Step::new(cx, &format!("Build klpctl for {}", target.name), command)
        .counting(|line| line.trim_start().starts_with("Compiling "))
        .hint("see that the crates' registry is in reach, then run this again")
        .run()?;
    let program = dir.join(triple).join("small/klpctl");
    let size = fs::metadata(&program)
        .with_context(|| format!("there is no {}", program.display()))?
        .len();
    ensure!(
        size <= MOST_BYTES,
        "klpctl for {} has {size} bytes, and may have {MOST_BYTES}: leave a dependency out",
        target.name
    );
    Ok(program)
}

/// Where the program is in a guest.
const PROGRAM: &str = "usr/sbin/klpctl";

/// Where the unit is that loads live patches at boot.
const UNIT: &str = "tools/klpctl/package/klpctl.service";

/// What a distribution's guest finds installed: the live patch, and for which of both tools.
const INSTALLED: &[(&str, &str)] = &[
    ("livepatch-sample.ko", "klpctl"),
    ("livepatch-shadow-fix1.ko", "kpatch"),
];

/// Builds the initramfs of the suite `name`: the program, the suite's files, and the modules that hold
/// transitions up.
pub fn image(cx: &Context, kernel: &Kernel, userspace: Userspace, name: &str) -> Result<PathBuf> {
    let program = build(cx, kernel.target)?;
    let base = initramfs::base(cx, kernel, userspace)?;
    let title = format!("Build the modules of {name}");
    initramfs::extended(cx, kernel, &base, (name, name), &title, |archive, work| {
        archive.copy(PROGRAM, &program)?;
        if userspace == Userspace::Distribution {
            install(cx, kernel, archive)?;
        }
        let scenes = scenes(cx, kernel, work)?;
        archive.copy_all(SCENES, &scenes)
    })
}

/// Builds an initramfs with the program, and nothing else of a suite's.
pub fn with(cx: &Context, kernel: &Kernel, userspace: Userspace, name: &str) -> Result<PathBuf> {
    let program = build(cx, kernel.target)?;
    let base = initramfs::base(cx, kernel, userspace)?;
    let to = initramfs::dir(cx, kernel).join(format!("{name}.cpio"));
    let mut archive = Archive::on_top_of(&base, &to)?;
    archive.copy(PROGRAM, &program)?;
    archive.finish()
}

/// Has live patches loaded at boot, by `klpctl.service` and by `kpatch.service`.
fn install(cx: &Context, kernel: &Kernel, archive: &mut Archive) -> Result<()> {
    let unit = cx.root.join(UNIT);
    archive.copy(&format!("{}/klpctl.service", initramfs::UNITS), &unit)?;
    let (release, samples) = (kernel.release()?, kernel.out.join(modules::SAMPLES));
    for (module, tool) in INSTALLED {
        let path = format!("var/lib/{tool}/{release}/{module}");
        archive.copy(&path, &samples.join(module))?;
        initramfs::enable(archive, &format!("{tool}.service"))?;
    }
    Ok(())
}

/// Builds the modules whose tasks hold transitions up, in a directory of their own below `work`.
pub fn scenes(cx: &Context, kernel: &Kernel, work: &Path) -> Result<Vec<PathBuf>> {
    let dir = work.join("scenes");
    modules::mirror(
        &cx.root.join("tests/guest").join(SCENES).join("modules"),
        &dir,
    )?;
    modules::make(cx, kernel, &dir, "Build the modules of the scenes")?;
    modules::objects(&dir)
}
