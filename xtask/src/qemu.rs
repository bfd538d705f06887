// SPDX-License-Identifier: GPL-2.0
//! Booting a kernel in qemu-system.
//!
//! A guest gets a deadline, and is gone when its [`Boot`] returns: it is killed on every way out, and
//! the kernel kills it should xtask itself be killed.

mod accel;
mod console;
mod emulator;

use crate::build::{Flavour, Kernel};
use crate::context::Context;
use crate::step;
use accel::Accel;
use anyhow::{bail, Context as _, Result};
use console::{Console, End};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xshell::{cmd, Shell};

/// Two CPUs: a transition is a matter of several CPUs, and one would hide what two show.
const CPUS: usize = 2;

/// The guest's memory, enough for the kernel and all of a userspace in an initramfs.
const MEMORY: &str = "768M";
/// Likewise for a kernel that watches itself: KASAN shadows an eighth, and freed memory is kept.
const DEBUG_MEMORY: &str = "3G";

/// A guest that prints nothing for this long hangs, as a rule. Emulated on a busy host, the longest silence
/// of a sound one is some 20 s.
pub const SILENCE: Duration = Duration::from_secs(120);

/// One boot of a kernel, to run one script in it.
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its userspace.
    pub initramfs: &'a Path,
    /// The script to run, of those in `tests/guest/`.
    pub script: &'a str,
    /// More for the kernel's command line; may be empty.
    pub append: &'a str,
    /// How long it may take, from power-on to power-off.
    pub deadline: Duration,
    /// How long it may print nothing.
    pub silence: Duration,
    /// What its clock shows.
    pub clock: Clock,
}

/// What a guest's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The time.
    Time,
    /// The instructions that its only CPU has carried out, [`NANOSECONDS_PER_INSTRUCTION`] each; while
    /// it is idle, time passes at once. The same on every run, however busy the host.
    Instructions,
}

/// What one instruction is worth with [`Clock::Instructions`].
pub const NANOSECONDS_PER_INSTRUCTION: f64 = 2.0;

/// A boot whose script ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// The script's exit status.
    pub status: i32,
    /// From power-on to power-off.
    pub took: Duration,
    /// Everything the guest printed.
    pub log: PathBuf,
}

impl Boot<'_> {
    /// Boots, hands over each line the guest prints, and returns when it is gone.
    pub fn run(&self, cx: &Context, on_line: &mut dyn FnMut(&str)) -> Result<Finished> {
        let accel = accel::choose(cx, self)?;
        let start = Instant::now();
        let log = cx
            .logs()
            .join(format!("{}.log", self.name().replace(' ', "-")));
        let slowness = self.kernel.flavour.slowness();
        let mut console = Console::open(self.command(cx, accel)?, &log)?;
        let end = console.follow(self.deadline * slowness, self.silence * slowness, on_line)?;
        drop(console);
        match end {
            End::Exit(status) => Ok(Finished {
                status,
                took: start.elapsed(),
                log,
            }),
            end => self.fail(accel, &end, &log),
        }
    }

    /// Boots with the guest's console on ours, until the user leaves.
    pub fn attach(&self, cx: &Context) -> Result<()> {
        let accel = accel::choose(cx, self)?;
        let status = self
            .machine(cx, accel, &["-nographic"])?
            .status()
            .with_context(|| self.cannot_run())?;
        if !status.success() {
            bail!("{} ended with {status}", self.kernel.target.qemu);
        }
        Ok(())
    }

    /// The machine, with this console.
    fn machine(&self, cx: &Context, accel: Accel, console: &[&str]) -> Result<Command> {
        let sh = Shell::new()?;
        let target = self.kernel.target;
        let (qemu, own) = (emulator::program(cx, target)?, target.qemu_args);
        let (accel, cpus, clock) = match self.clock {
            Clock::Time => (accel, CPUS, None),
            Clock::Instructions => (Accel::Tcg, 1, Some(["-icount", "shift=1,sleep=off"])),
        };
        let accel = accel.argument();
        let clock = clock.into_iter().flatten();
        let memory = match self.kernel.flavour {
            Flavour::Plain | Flavour::Fault | Flavour::Bpf => MEMORY,
            Flavour::Debug => DEBUG_MEMORY,
        };
        let (image, initramfs) = (&self.kernel.image, self.initramfs);
        // A socket each: firmware without ACPI tells the kernel about the first CPU of each socket only.
        let cpus = format!("{cpus},sockets={cpus}");
        let line = self.command_line();
        // setpriv: the guest is killed with us, whatever we die of.
        let command = cmd!(
            sh,
            "setpriv --pdeathsig KILL -- {qemu} {own...} {console...}
                -accel {accel} {clock...} -smp {cpus} -m {memory} -no-reboot
                -kernel {image} -initrd {initramfs} -append {line}"
        );
        Ok(command.into())
    }

    /// The machine with its console on our pipe, and nothing else open.
    fn command(&self, cx: &Context, accel: Accel) -> Result<Command> {
        let console = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
        let mut command = self.machine(cx, accel, &console)?;
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// An oops is a panic and a panic ends the guest: what is left of a kernel after one is no test.
    /// The last words are for the guest's /init.
    fn command_line(&self) -> String {
        let Kernel { target, core, .. } = self.kernel;
        let own = format!("core={core} guest={}", self.script);
        let mut words = vec![target.boot_args, "panic=-1 oops=panic", self.append, &own];
        words.retain(|words| !words.is_empty());
        words.join(" ")
    }

    fn name(&self) -> String {
        let Kernel { target, core, .. } = self.kernel;
        format!("guest {} {} {core}", self.script, target.name)
    }

    fn cannot_run(&self) -> String {
        format!(
            "cannot run {}: see `cargo xtask doctor`",
            self.kernel.target.qemu
        )
    }

    fn fail(&self, accel: Accel, end: &End, log: &Path) -> Result<Finished> {
        let (cause, next) = match end {
            End::Panic(line) => (
                format!("the kernel panicked: {line}"),
                format!("look at the trace; boot it by hand with {}", self.by_hand()),
            ),
            End::Silent(time) => (
                format!("the guest printed nothing for {} s, so it hangs", time.as_secs()),
                format!("its last lines tell where; boot it by hand with {}", self.by_hand()),
            ),
            End::Late(time) => (
                format!("the guest still ran at its deadline of {} s", time.as_secs()),
                "if the host is slow or busy, try again alone on it; else its last lines tell where \
                 it hangs"
                    .to_owned(),
            ),
            End::Gone(status) if status.code() == Some(127) => {
                bail!("{}: {} is not there: see `cargo xtask doctor`", self.name(), self.kernel.target.qemu)
            }
            End::Gone(status) => (
                format!("{} ended early ({status})", self.kernel.target.qemu),
                format!("accelerator in use: {}; {}=tcg forces emulation", accel.name(), accel::VARIABLE),
            ),
            End::Exit(status) => (format!("exit status {status}"), String::new()),
        };
        let tail = step::tail(log);
        bail!(
            "{}: {cause}\n{tail}full log: {}\nnext: {next}",
            self.name(),
            log.display()
        )
    }

    fn by_hand(&self) -> String {
        let Kernel { target, core, .. } = self.kernel;
        format!(
            "`cargo xtask boot --arch {} --core {core} --shell`",
            target.name
        )
    }
}
