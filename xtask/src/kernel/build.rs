// SPDX-License-Identifier: GPL-2.0
//! Builds the kernel, from scratch or only what has changed.

use crate::kernel::config;
use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::graft;
use crate::kernel::make::Kernel;
use crate::kernel::source::Source;
use crate::kernel::toolchain::Toolchain;
use crate::tools::context::Context;
use crate::tools::provision;
use crate::tools::target::Target;
use anyhow::{bail, Result};
use steps::place;
use steps::step::Step;

/// Returns a kernel for that target and with that core.
///
/// Installs what the build needs, then grafts, configures and builds. Work that is up to date is
/// not repeated.
pub fn kernel(cx: &Context, target: &'static Target, core: Core) -> Result<Kernel> {
    kernel_of(cx, target, core, Flavour::Plain)
}

/// Like [`kernel`], for any flavour.
pub fn kernel_of(
    cx: &Context,
    target: &'static Target,
    core: Core,
    flavour: Flavour,
) -> Result<Kernel> {
    if let Some(caveat) = target.caveat() {
        eprintln!("{caveat}");
    }
    let (source, tools) = ready(cx, target, flavour)?;
    let _lock = cx.lock(&graft::lock_name(&source))?;
    graft::graft(cx, &source)?;
    let out = cx.cache.join("build").join(format!(
        "{}-{}-{core}{}",
        source.key,
        target.name,
        flavour.suffix()
    ));
    if !out.exists() {
        place::room(&out, 2 * place::GIB, "a kernel build")?;
        eprintln!(
            "note: there is no build of the {} kernel with the {core} core yet; it is made now, which \
             takes some ten minutes on two cores",
            target.name
        );
    }
    let kernel = Kernel {
        src: source.linux(),
        out,
        target,
        core,
        flavour,
        tools,
    };
    config::apply(cx, &kernel)?;
    make(cx, &kernel)?;
    Ok(kernel)
}

/// Builds a kernel that is configured.
pub fn make(cx: &Context, kernel: &Kernel) -> Result<()> {
    let (target, core, flavour) = (kernel.target, kernel.core, kernel.flavour);
    let mut command = kernel.make(cx)?;
    command.args([target.image_target, "modules"]);
    Step::new(
        cx,
        &format!(
            "Build {} kernel with the {core} core{}",
            target.name,
            flavour.suffix()
        ),
        command,
    )
    .counting(is_compilation)
    .run()?;
    // Both are there after a build.
    kernel.release()?;
    let image = kernel.image();
    if !image.exists() {
        bail!("the build went well, but there is no {}", image.display());
    }
    Ok(())
}

/// Returns the source of a kernel and the toolchain, after installing what the build needs.
pub fn ready(
    cx: &Context,
    target: &'static Target,
    flavour: Flavour,
) -> Result<(Source, Toolchain)> {
    let mut needs = provision::for_build(target);
    if let Some(llvm) = flavour.llvm(target) {
        needs.extend(llvm.needs);
    }
    if flavour == Flavour::Bpf {
        needs.push(provision::PAHOLE);
    }
    provision::ensure(cx, &needs)?;
    let tools = Toolchain::ready(cx)?;
    let source = Source::choose(cx)?;
    let tools = tools.suit(cx, &source.upstream(), target, flavour.llvm(target))?;
    Ok((source, tools))
}

/// Whether a line of a kernel build's output reports a build step.
fn is_compilation(line: &str) -> bool {
    line.starts_with("  ") && !line.starts_with("   ")
}
