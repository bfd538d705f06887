// SPDX-License-Identifier: GPL-2.0
//! Boots a kernel in qemu-system.
//!
//! A guest has a deadline, and is gone when its [`Boot`] returns. It is killed on every exit path,
//! and the kernel kills it if xtask itself is killed.

mod accel;
mod console;
mod emulator;
mod monitor;

use crate::guest::qemu::accel::Accel;
use crate::guest::qemu::console::{Console, End};
pub use crate::guest::qemu::monitor::Monitor;
use crate::kernel::flavour::Flavour;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use anyhow::{bail, Context as _, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use steps::step;
use xshell::{cmd, Shell};

/// The number of CPUs. A transition involves several CPUs, and a single one would hide bugs that
/// two show.
const CPUS: usize = 2;

/// The guest's memory, enough for the kernel and all of a userspace in an initramfs.
const MEMORY: &str = "768M";
/// The guest's memory with debug checks: KASAN's shadow takes an eighth, and freed memory is kept.
const DEBUG_MEMORY: &str = "3G";

/// The guest's memory with a distribution's userspace, which is in memory twice while it is unpacked.
const DISTRIBUTION_MEMORY: &str = "1536M";

/// A guest that prints nothing for this long usually hangs. The longest silence of a sound guest,
/// emulated on a busy host, is about 20 s.
pub const SILENCE: Duration = Duration::from_secs(120);

/// An address further than this behind a symbol does not belong to the symbol.
const LONGEST_FUNCTION: u64 = 64 << 10;

/// One boot of a kernel, to run one script in it.
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its userspace.
    pub initramfs: &'a Path,
    /// The script of `tests/guest/` to run.
    pub script: &'a str,
    /// Additional words for the kernel's command line; may be empty.
    pub append: &'a str,
    /// How long it may take, from power-on to power-off.
    pub deadline: Duration,
    /// How long it may print nothing.
    pub silence: Duration,
    /// What the guest's clock shows.
    pub clock: Clock,
    /// Where the machine's monitor listens, for programs: see [`Monitor`].
    pub monitor: Option<&'a Path>,
}

/// What a guest's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The time.
    Time,
    /// The instructions that its only CPU has executed, [`NANOSECONDS_PER_INSTRUCTION`] each. Idle
    /// time passes at once. The clock shows the same on every run, however busy the host is.
    Instructions,
}

/// The time that one instruction counts for with [`Clock::Instructions`].
pub const NANOSECONDS_PER_INSTRUCTION: f64 = 2.0;

/// A boot whose script ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// The script's exit status.
    pub status: i32,
    /// The time from power-on to power-off.
    pub took: Duration,
    /// Everything the guest printed.
    pub log: PathBuf,
}

/// The error for a hanging emulator, which does not answer on its monitor. The monitor does not
/// depend on the guest. The text contains all that is known.
#[derive(Debug)]
pub struct EmulatorHangs(String);

impl fmt::Display for EmulatorHangs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EmulatorHangs {}

impl Boot<'_> {
    /// Boots the guest, passes each line that it prints to `on_line`, and returns when it is gone.
    pub fn run(&self, cx: &Context, on_line: &mut dyn FnMut(&str)) -> Result<Finished> {
        let accel = self.accel(cx)?;
        let start = Instant::now();
        let log = cx
            .logs()
            .join(format!("{}.log", self.name().replace(' ', "-")));
        let slowness = self.kernel.flavour.slowness();
        let mut console = Console::open(self.command(cx, accel)?, &log)?;
        let end = console.follow(self.deadline * slowness, self.silence * slowness, on_line)?;
        let answer = match end {
            End::Silent(_) | End::Late(_) => Some(console.ask("info registers -a")),
            _ => None,
        };
        drop(console);
        match end {
            _ if answer.as_deref() == Some("") => Err(self.hung(&log).into()),
            End::Exit(status) => Ok(Finished {
                status,
                took: start.elapsed(),
                log,
            }),
            end => {
                let places = answer.map_or_else(String::new, |answer| self.places(&answer));
                self.fail(accel, &end, &places, &log)
            }
        }
    }

    /// Boots with the guest's console on the user's terminal, until the user leaves.
    pub fn attach(&self, cx: &Context) -> Result<()> {
        let accel = self.accel(cx)?;
        let status = self
            .machine(cx, accel, &["-nographic"])?
            .status()
            .with_context(|| self.cannot_run())?;
        if !status.success() {
            bail!("{} ended with {status}", self.kernel.target.qemu);
        }
        Ok(())
    }

    /// Returns the faster accelerator that works here.
    fn accel(&self, cx: &Context) -> Result<Accel> {
        accel::choose(cx, self.kernel.target, || self.command(cx, Accel::Kvm))
    }

    /// Returns the command that runs the machine, with these arguments for the console.
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
            Flavour::Debug => DEBUG_MEMORY,
            Flavour::Distribution => DISTRIBUTION_MEMORY,
            _ => MEMORY,
        };
        let (image, initramfs) = (self.kernel.image(), self.initramfs);
        // One socket per CPU: firmware without ACPI tells the kernel only about the first CPU of
        // each socket.
        let cpus = format!("{cpus},sockets={cpus}");
        let line = self.command_line();
        let monitor = self.monitor.map(monitor::arguments);
        let monitor = monitor.iter().flatten();
        // setpriv lets the kernel kill the guest when xtask dies for any reason.
        let command = cmd!(
            sh,
            "setpriv --pdeathsig KILL -- {qemu} {own...} {console...}
                {monitor...} -accel {accel} {clock...} -smp {cpus} -m {memory} -no-reboot
                -kernel {image} -initrd {initramfs} -append {line}"
        );
        Ok(command.into())
    }

    /// Returns the command for a machine whose console, and the monitor behind it, are on a pipe to
    /// xtask.
    fn command(&self, cx: &Context, accel: Accel) -> Result<Command> {
        self.machine(cx, accel, &["-display", "none", "-serial", "mon:stdio"])
    }

    /// Returns the kernel's command line. An oops is a panic and a panic ends the guest, because a
    /// kernel after an oops proves nothing in a test. The last words are for the guest's /init.
    fn command_line(&self) -> String {
        let Kernel {
            target,
            core,
            flavour,
            ..
        } = self.kernel;
        let own = format!("core={core} guest={}", self.script);
        let mut words = vec![
            target.boot_args,
            flavour.boot_args(),
            "panic=-1 oops=panic",
            self.append,
            &own,
        ];
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

    fn fail(&self, accel: Accel, end: &End, places: &str, log: &Path) -> Result<Finished> {
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
            "{}: {cause}\n{tail}{places}full log: {}\nnext: {next}",
            self.name(),
            log.display()
        )
    }

    fn hung(&self, log: &Path) -> EmulatorHangs {
        EmulatorHangs(format!(
            "{}: {} does not answer its monitor, so it is the emulator that hangs\n{}full log: {}",
            self.name(),
            self.kernel.target.qemu,
            step::tail(log),
            log.display()
        ))
    }

    /// Returns where the guest's CPUs are, one line each, from the emulator's dump of their
    /// registers.
    fn places(&self, registers: &str) -> String {
        let map = fs::read_to_string(self.kernel.out.join("System.map")).unwrap_or_default();
        let symbols = symbols(&map);
        let places = program_counters(registers)
            .into_iter()
            .map(|(cpu, address)| {
                let place = match symbols.range(..=address).next_back() {
                    Some((start, name)) if address - start < LONGEST_FUNCTION => {
                        format!("{name}+{:#x}", address - start)
                    }
                    _ => "in a module or in user space".to_owned(),
                };
                format!("CPU {cpu} is at {address:#x}, {place}\n")
            });
        places.collect()
    }

    fn by_hand(&self) -> String {
        let Kernel { target, core, .. } = self.kernel;
        format!(
            "`cargo xtask boot --arch {} --core {core} --shell`",
            target.name
        )
    }
}

/// Returns the symbols of a `System.map`, by address.
fn symbols(map: &str) -> BTreeMap<u64, &str> {
    let lines = map.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?))
    });
    lines.collect()
}

/// Returns the CPUs and the program counter of each, from the monitor's `info registers -a`.
fn program_counters(registers: &str) -> Vec<(u32, u64)> {
    /// The text before the program counter on x86, arm64, s390, powerpc and riscv.
    const NAMES: [&str; 5] = ["RIP=", " PC=", " addr ", "NIP ", " pc "];
    let mut cpu = 0;
    let mut found = Vec::new();
    for line in registers.lines() {
        if let Some((_, number)) = line.split_once("CPU#") {
            cpu = number.trim().parse().unwrap_or(cpu);
        }
        let counter = NAMES.iter().find_map(|name| {
            let (_, rest) = line.split_once(name)?;
            let rest = rest.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_hexdigit());
            u64::from_str_radix(&rest[..end.unwrap_or(rest.len())], 16).ok()
        });
        found.extend(counter.map(|address| (cpu, address)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_found_on_every_architecture() {
        for (line, address) in [
            (
                "RIP=ffffffff81000010 RFL=00000246 [---Z-P-] CPL=0",
                0xffff_ffff_8100_0010,
            ),
            (
                " PC=ffff800080010000 X00=0000000000000000",
                0xffff_8000_8001_0000,
            ),
            (
                "PSW=mask 0704c00180000000 addr 0000000000104ab0 cc 00",
                0x10_4ab0,
            ),
            (
                "NIP c000000000001000   LR c000000000002000",
                0xc000_0000_0000_1000,
            ),
            (" pc       ffffffff80001000", 0xffff_ffff_8000_1000),
        ] {
            let text = format!("CPU#0\r\nnothing\r\n\r\nCPU#1\r\n{line}\r\n");
            assert_eq!(program_counters(&text), [(1, address)]);
        }
    }

    #[test]
    fn a_symbol_has_the_last_address_before() {
        let symbols = symbols("0000000000001000 T first\n0000000000001100 t second\n");
        let at = |address| symbols.range(..=address).next_back().map(|(_, name)| *name);
        assert_eq!(at(0x10ff), Some("first"));
        assert_eq!(at(0x1100), Some("second"));
        assert_eq!(at(0xfff), None);
    }
}
