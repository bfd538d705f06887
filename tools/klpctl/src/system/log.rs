// SPDX-License-Identifier: GPL-2.0
//! The kernel's log, `/dev/kmsg`.

use super::System;
use rustix::fs::{open, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// What the messages of the livepatch core begin with.
pub const LIVEPATCH: &str = "livepatch: ";

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// When it was printed, in seconds since the boot.
    pub at: f64,
    /// Its level: 3 is an error, 4 a warning.
    pub level: u8,
    /// The text.
    pub text: String,
}

/// A reader of the log.
pub struct Log(File);

impl System {
    /// Opens the log at its first message.
    pub fn log(&self) -> io::Result<Log> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(self.path("dev/kmsg"), flags, Mode::empty())?;
        Ok(Log(file.into()))
    }

    /// Opens the log behind its last message. `None` if the log can't be read.
    pub fn log_from_now(&self) -> Option<Log> {
        let mut log = self.log().ok()?;
        log.0.seek(SeekFrom::End(0)).ok()?;
        Some(log)
    }
}

impl Log {
    /// Returns the messages that are there, and were not returned before.
    pub fn read(&mut self) -> Vec<Message> {
        let (mut messages, mut buffer) = (Vec::new(), vec![0; 8192]);
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(size) => messages.extend(parse(&String::from_utf8_lossy(&buffer[..size]))),
                // Messages were overwritten before they were read. The next read goes on behind.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        messages
    }
}

/// Parses records like `5,1200,98765432,-;livepatch: text`. Lines that continue one begin with a space.
fn parse(text: &str) -> impl Iterator<Item = Message> + '_ {
    text.lines().filter_map(|line| {
        let (head, text) = line.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let microseconds: u64 = fields.nth(1)?.parse().ok()?;
        Some(Message {
            at: microseconds as f64 / 1e6,
            level: (priority & 7) as u8,
            text: text.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_and_continued_lines_left_out() {
        let text =
            "5,7,1500000,-;livepatch: enabling patch 'a'\n SUBSYSTEM=x\n30,8,2,c;init: a;b\n";
        let messages: Vec<_> = parse(text).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].at, 1.5);
        assert_eq!(messages[0].level, 5);
        assert_eq!(messages[1].text, "init: a;b");
    }
}
