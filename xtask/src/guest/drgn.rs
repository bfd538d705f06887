// SPDX-License-Identifier: GPL-2.0
//! The suite `drgn`: whether `tools/drgn/livepatch.py` finds live patches and what a transition waits
//! for in the memory of a guest, and in a dump of it.

use crate::guest::initramfs;
use crate::guest::klpctl;
use crate::guest::ktap::Reader;
use crate::guest::qemu::{Boot, Clock, Monitor};
use crate::guest::suite::{self, Outcome, View};
use crate::guest::userspace::Userspace;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use crate::tools::python::{self, DRGN};
use crate::tools::tally::{self, Tally};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Its name.
pub const NAME: &str = "drgn";

/// The helper.
const HELPER: &str = "tools/drgn/livepatch.py";

/// How long the guest may take, and how long it may be silent: it is stopped while drgn reads.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// The scene of which a dump is read too. A dump has all of the guest's memory.
const DUMPED: &str = "asleep";

/// Runs the suite on a kernel that has debug information.
pub fn of(cx: &Context, kernel: &Kernel) -> Result<Tally> {
    let drgn = DRGN.ready(cx)?;
    let base = initramfs::base(cx, kernel, Userspace::Small)?;
    let mut scenes = Vec::new();
    let initramfs = initramfs::extended(cx, kernel, &base, (NAME, NAME), "", |archive, work| {
        scenes = klpctl::scenes(cx, kernel, work)?;
        archive.copy_all(klpctl::SCENES, &scenes)
    })?;
    let dir = tempfile::tempdir().context("no directory for the guest's monitor")?;
    let socket = dir.path().join("monitor");
    let boot = Boot {
        kernel,
        initramfs: &initramfs,
        script: NAME,
        append: "",
        deadline: DEADLINE,
        silence: SILENCE,
        clock: Clock::Time,
        monitor: Some(&socket),
    };
    let place = Place {
        cx,
        kernel,
        drgn,
        scenes,
        socket: &socket,
        dump: dir.path().join("dump"),
    };
    let (mut reader, mut expected, mut looks) = (Reader::default(), Vec::new(), Tally::default());
    let end = boot.run(cx, &mut |line| {
        suite::show(&reader.line(line), View::Results);
        if let Some(text) = line.strip_prefix("# guest: expect ") {
            expected.push(text.to_owned());
        } else if let Some(scene) = line.strip_prefix("# guest: look ") {
            let tally = place.look(scene, &std::mem::take(&mut expected));
            looks += tally.unwrap_or_else(|error| Tally::failure(&error));
        }
    });
    let report = reader.finish(end.is_ok());
    for problem in &report.problems {
        println!("  {} {problem}", tally::mark(false));
    }
    looks += Outcome { report, end }.tally();
    Ok(looks)
}

/// A guest whose memory is read.
struct Place<'a> {
    cx: &'a Context,
    kernel: &'a Kernel,
    drgn: python::Ready,
    scenes: Vec<PathBuf>,
    socket: &'a Path,
    dump: PathBuf,
}

impl Place<'_> {
    /// Stops the guest while its memory is read.
    fn look(&self, scene: &str, expected: &[String]) -> Result<Tally> {
        Monitor::connect(self.socket)?.run("stop", &json!({}))?;
        let tally = self.read(scene, expected);
        Monitor::connect(self.socket)?.run("cont", &json!({}))?;
        tally
    }

    /// Checks what the helper says of the guest, and of a dump of it.
    fn read(&self, scene: &str, expected: &[String]) -> Result<Tally> {
        let from = ["--qemu".as_ref(), self.socket.as_os_str()];
        let mut tally = told(scene, "the guest", expected, &self.ask(from)?);
        if scene == DUMPED {
            let file = format!("file:{}", self.dump.display());
            let arguments = json!({"paging": false, "protocol": file});
            Monitor::connect(self.socket)?.run("dump-guest-memory", &arguments)?;
            let from = ["-c".as_ref(), self.dump.as_os_str()];
            tally += told(scene, "a dump", expected, &self.ask(from)?);
            steps::place::remove(&self.dump)?;
        }
        Ok(tally)
    }

    /// Returns what the helper prints.
    fn ask(&self, from: [&std::ffi::OsStr; 2]) -> Result<String> {
        let mut command = Command::new("python3");
        command.args(["-m", "drgn", "--quiet", "--no-default-symbols"]);
        command.args(from);
        command.arg("-s").arg(self.kernel.out.join("vmlinux"));
        for module in &self.scenes {
            command.arg("-s").arg(module);
        }
        command.arg(self.cx.root.join(HELPER)).arg("--stacks");
        self.drgn.equip(&mut command)?;
        let output = command.output().context("cannot run python3")?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Checks that the helper has said all that is expected, and that each frame of a stack has a name: all
/// of the kernel's have one.
fn told(scene: &str, of: &str, expected: &[String], said: &str) -> Tally {
    let is_missing = |text: &&String| !said.contains(text.as_str());
    let missing: Vec<&String> = expected.iter().filter(is_missing).collect();
    let nameless = said
        .lines()
        .find(|line| line.trim_start().starts_with("0x"));
    let name = format!("{scene}: drgn reads {of}");
    let passed = missing.is_empty() && !expected.is_empty() && nameless.is_none();
    for line in said.lines() {
        println!("    | {line}");
    }
    println!("  {} {name}", tally::mark(passed));
    Tally::one(passed, || {
        format!(
            "{name}: it lacks {missing:?}, or has a frame without a name, {nameless:?}, in\n{said}"
        )
    })
}
