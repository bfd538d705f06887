// SPDX-License-Identifier: GPL-2.0
//! Chooses between KVM and emulation.
//!
//! A `/dev/kvm` that exists and opens proves little: in some containers and virtual machines a
//! guest starts on it and never leaves the firmware. So a kernel is booted as a probe, and must
//! print something in time.

use crate::guest::qemu::console::Console;
use crate::tools::context::Context;
use crate::tools::target::Target;
use anyhow::{bail, Result};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The environment variable that overrides the choice.
pub const VARIABLE: &str = "LIVEPATCH_RUST_ACCEL";

/// How long the probe may take. Where KVM works, the kernel's first line takes a fraction of a
/// second.
const PROBE: Duration = Duration::from_secs(8);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's CPUs.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Accel {
    /// Returns the emulator's argument.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            // One host thread runs all CPUs. With a thread per CPU, a CPU may run an instruction
            // that another CPU has just replaced. A breakpoint of ftrace then hits where the kernel
            // expects none.
            Self::Tcg => "tcg,thread=single",
        }
    }

    /// Returns its name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Returns the faster accelerator that works here for that target's kernels. `kvm` returns the
/// command that boots one with KVM.
pub fn choose(
    cx: &Context,
    target: &Target,
    kvm: impl FnOnce() -> Result<Command>,
) -> Result<Accel> {
    match std::env::var(VARIABLE).as_deref() {
        Ok("kvm") => return Ok(Accel::Kvm),
        Ok("tcg") => return Ok(Accel::Tcg),
        Ok("auto" | "") | Err(_) => {}
        Ok(other) => bail!("{VARIABLE}={other}: it is kvm, tcg or auto"),
    }
    if !target.is_host() || !opens() {
        return Ok(Accel::Tcg);
    }
    let answer = cx.cache.join(format!("kvm-{}", target.name));
    if let Some(works) = remembered(&answer) {
        return Ok(if works { Accel::Kvm } else { Accel::Tcg });
    }
    let works = probe(cx, kvm()?)?;
    if !works {
        eprintln!("/dev/kvm is there, but a guest does not start on it: emulating instead");
    }
    remember(&answer, works);
    Ok(if works { Accel::Kvm } else { Accel::Tcg })
}

fn opens() -> bool {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// Boots a kernel with KVM until it prints its name. Returns whether it does so in time.
fn probe(cx: &Context, kvm: Command) -> Result<bool> {
    let log = cx.logs().join("kvm-probe.log");
    Console::open(kvm, &log)?.says("Linux version", PROBE)
}

/// Returns the answer for this boot of the host. After a change of kernel or a move of the machine,
/// the probe runs again.
fn remembered(answer: &Path) -> Option<bool> {
    let text = std::fs::read_to_string(answer).ok()?;
    let (boot, works) = text.trim().split_once(' ')?;
    (boot == boot_id()?).then(|| works == "works")
}

/// Remembers the answer. A failure is ignored, because the next run then probes again.
fn remember(answer: &Path, works: bool) {
    if let Some(boot) = boot_id() {
        let works = if works { "works" } else { "broken" };
        let _ = std::fs::write(answer, format!("{boot} {works}\n"));
    }
}

fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
