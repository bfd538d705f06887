// SPDX-License-Identifier: GPL-2.0
//! The monitor of a guest's machine that is for programs: QEMU's machine protocol, JSON by line.

use anyhow::{bail, Context as _, Result};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a command may take. Writing out the memory takes longest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the arguments with which a machine listens at `socket`. The device `vmcoreinfo` keeps what
/// the guest's kernel says of its own data, which whoever reads the memory needs.
pub fn arguments(socket: &Path) -> [String; 4] {
    let address = format!("unix:{},server=on,wait=off", socket.display());
    let device = "vmcoreinfo";
    ["-qmp".into(), address, "-device".into(), device.into()]
}

/// A connection. The machine takes one at a time.
pub struct Monitor {
    answers: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to a machine.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("no machine listens at {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self {
            answers: BufReader::new(stream),
        };
        // It introduces itself, and takes commands after this one.
        monitor.answer()?;
        monitor.run("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Runs a command, and returns when it is done.
    pub fn run(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({"execute": command, "arguments": arguments});
        writeln!(self.answers.get_mut(), "{line}").context("the machine has gone")?;
        loop {
            let mut answer = self.answer()?;
            if let Some(error) = answer.get("error") {
                bail!("the machine refuses `{command}`: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // Others are events.
        }
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        read.context("the machine does not answer")?;
        serde_json::from_str(&line).context("the machine has gone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn events_are_passed_over_and_errors_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let machine = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut commands = BufReader::new(stream);
            let mut say = |text: &str, listen: bool| {
                writeln!(commands.get_mut(), "{text}").unwrap();
                let mut line = String::new();
                if listen {
                    commands.read_line(&mut line).unwrap();
                }
                line
            };
            assert!(say(r#"{"QMP": {}}"#, true).contains("qmp_capabilities"));
            assert!(say(r#"{"return": {}}"#, true).contains("\"stop\""));
            say(r#"{"event": "STOP"}"#, false);
            say(r#"{"return": 7}"#, true);
            say(r#"{"error": {"desc": "no"}}"#, false);
        });
        let mut monitor = Monitor::connect(&socket).unwrap();
        assert_eq!(monitor.run("stop", &json!({})).unwrap(), json!(7));
        let error = monitor.run("fly", &json!({})).unwrap_err().to_string();
        assert!(error.contains("`fly`") && error.contains("no"), "{error}");
        machine.join().unwrap();
    }
}
