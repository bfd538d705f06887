// SPDX-License-Identifier: GPL-2.0
//! `klpctl history`: what happened to live patches since the boot, from the kernel's log.

use super::transition::seconds;
use crate::failure::{Exit, Failure, Result};
use crate::output::{table, Answer};
use crate::system::log::{Message, LIVEPATCH};
use crate::system::{patch_name, System};
use serde::Serialize;

#[derive(Serialize)]
struct Event {
    seconds_since_boot: f64,
    level: u8,
    text: String,
    /// How long a transition took, at its end.
    transition_seconds: Option<f64>,
}

/// Runs the command.
pub fn run(system: &System, patch: Option<&str>) -> Result<Answer> {
    system.check()?;
    let patch = patch.map(patch_name).transpose()?;
    let mut log = system.log().map_err(|error| {
        let mut failure = Failure::of_system("cannot read the kernel's log", &error);
        failure.next = format!("{}; or dmesg | grep livepatch", failure.next);
        failure
    })?;
    let messages = log.read();
    // Without its first message, which is printed in the first second, the log has been overwritten.
    let since = messages.first().map_or(0.0, |first| first.at);
    let events = events(&messages, patch.as_deref());
    let mut text = match events.is_empty() {
        true => "The kernel's log has nothing about it.\n".into(),
        false => table(&rows(&events)),
    };
    if since > 1.0 {
        text.push_str(&format!(
            "The log goes back to {since:.0} s after the boot; older messages are lost.\n"
        ));
    }
    Ok(Answer::new(Exit::Done, text, &events))
}

fn events(messages: &[Message], patch: Option<&str>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut start = 0.0;
    for message in messages {
        let Some(text) = message.text.strip_prefix(LIVEPATCH) else {
            continue;
        };
        if text.contains(": starting ") {
            start = message.at;
        }
        let ends = text.ends_with("patching complete");
        if patch.is_some_and(|patch| !text.contains(&format!("'{patch}'"))) {
            continue;
        }
        events.push(Event {
            seconds_since_boot: message.at,
            level: message.level,
            text: text.to_owned(),
            transition_seconds: ends.then_some(message.at - start),
        });
    }
    events
}

fn rows(events: &[Event]) -> Vec<Vec<String>> {
    let heading = ["SINCE BOOT", "TOOK", "WHAT"].map(str::to_owned).to_vec();
    let rows = events.iter().map(|event| {
        vec![
            format!("{:.3} s", event.seconds_since_boot),
            event.transition_seconds.map_or_else(String::new, seconds),
            event.text.clone(),
        ]
    });
    [heading].into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_that_ends_says_how_long_it_took() {
        let message = |at, text: &str| Message {
            at,
            level: 5,
            text: text.into(),
        };
        let messages = [
            message(1.0, "livepatch: 'a': starting patching transition"),
            message(1.5, "other: 'a'"),
            message(3.0, "livepatch: 'a': patching complete"),
            message(4.0, "livepatch: enabling patch 'b'"),
        ];
        let took = |patch| -> Vec<_> {
            let events = events(&messages, patch);
            events
                .iter()
                .map(|event| event.transition_seconds)
                .collect()
        };
        assert_eq!(took(Some("a")), [None, Some(2.0)]);
        assert_eq!(took(None).len(), 3);
        assert_eq!(took(Some("c")), []);
    }
}
