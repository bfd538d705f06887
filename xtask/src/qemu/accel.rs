// SPDX-License-Identifier: GPL-2.0
//! Choosing between KVM and emulation.
//!
//! That `/dev/kvm` is there and opens says little: inside some containers and virtual machines a guest
//! starts on it and never leaves the firmware. So a kernel is booted, and has to say something in time.

use super::console::Console;
use super::Boot;
use crate::context::Context;
use anyhow::{bail, Result};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// The environment variable that settles it by hand.
pub const VARIABLE: &str = "LIVEPATCH_RUST_ACCEL";

/// Where KVM works, the kernel's first line takes a fraction of a second.
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
    /// What the emulator is told.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            // One host thread for all CPUs. With a thread each, a CPU may run an instruction that
            // another has just replaced: ftrace's breakpoints then turn up where nobody expects one.
            Self::Tcg => "tcg,thread=single",
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// The faster one that works here.
pub fn choose(cx: &Context, boot: &Boot<'_>) -> Result<Accel> {
    match std::env::var(VARIABLE).as_deref() {
        Ok("kvm") => return Ok(Accel::Kvm),
        Ok("tcg") => return Ok(Accel::Tcg),
        Ok("auto" | "") | Err(_) => {}
        Ok(other) => bail!("{VARIABLE}={other}: it is kvm, tcg or auto"),
    }
    if !boot.kernel.target.is_host() || !opens() {
        return Ok(Accel::Tcg);
    }
    let answer = cx.cache.join(format!("kvm-{}", boot.kernel.target.name));
    if let Some(works) = remembered(&answer) {
        return Ok(if works { Accel::Kvm } else { Accel::Tcg });
    }
    let works = probe(cx, boot)?;
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

/// Boots the kernel until it says its name.
fn probe(cx: &Context, boot: &Boot<'_>) -> Result<bool> {
    let log = cx.logs().join("kvm-probe.log");
    Console::open(boot.command(cx, Accel::Kvm)?, &log)?.says("Linux version", PROBE)
}

/// The answer for this boot of the host; a new kernel or a moved machine is asked anew.
fn remembered(answer: &Path) -> Option<bool> {
    let text = std::fs::read_to_string(answer).ok()?;
    let (boot, works) = text.trim().split_once(' ')?;
    (boot == boot_id()?).then(|| works == "works")
}

/// Best effort: without it, the next run asks again.
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
