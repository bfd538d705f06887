// SPDX-License-Identifier: GPL-2.0

//! The events that the core reports, in order.

use crate::simulation::Simulation;
use crate::tasks::{SimulatedTask, TaskId};
use livepatch_core::settle::Gear;
use livepatch_core::symbol::Name;
use livepatch_core::transition::{Counts, Direction, Trace, Way};
use std::cell::RefCell;

/// An event. The first name is the patch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A patch was enabled.
    Enabled(String),
    /// A patch was disabled.
    Disabled(String),
    /// A patch was replaced by the one with the second name.
    Replaced(String, String),
    /// A transition has started.
    Started(String, Direction),
    /// A transition was reversed; the direction is the new one.
    Reversed(String, Direction),
    /// A transition was forced.
    Forced(String, Direction),
    /// A transition is over.
    Completed(String, Counts),
    /// An attempt: its number, the tasks that it left, and its time in microseconds.
    Attempted(String, u64, usize, u64),
    /// A task has moved.
    Moved(TaskId, Way),
    /// The gear was changed.
    Geared(String, Gear),
}

/// The events since the last [`Events::take`].
#[derive(Default)]
pub struct Events(RefCell<Vec<Event>>);

impl Events {
    /// Returns the events since the last call.
    pub fn take(&self) -> Vec<Event> {
        self.0.take()
    }

    fn push(&self, event: Event) {
        self.0.borrow_mut().push(event);
    }
}

impl Trace for Simulation {
    const COUNTS: bool = true;

    fn patch_enabled(&self, patch: &Name) {
        self.events.push(Event::Enabled(patch.to_string()));
    }

    fn patch_disabled(&self, patch: &Name) {
        self.events.push(Event::Disabled(patch.to_string()));
    }

    fn patch_replaced(&self, patch: &Name, by: &Name) {
        let event = Event::Replaced(patch.to_string(), by.to_string());
        self.events.push(event);
    }

    fn transition_started(&self, patch: &Name, direction: Direction) {
        let event = Event::Started(patch.to_string(), direction);
        self.events.push(event);
    }

    fn transition_reversed(&self, patch: &Name, direction: Direction) {
        let event = Event::Reversed(patch.to_string(), direction);
        self.events.push(event);
    }

    fn transition_forced(&self, patch: &Name, direction: Direction) {
        let event = Event::Forced(patch.to_string(), direction);
        self.events.push(event);
    }

    fn transition_completed(&self, patch: &Name, counts: &Counts) {
        let event = Event::Completed(patch.to_string(), counts.clone());
        self.events.push(event);
    }

    fn attempted(&self, patch: &Name, number: u64, left: usize, micros: u64) {
        let event = Event::Attempted(patch.to_string(), number, left, micros);
        self.events.push(event);
    }

    fn task_moved(&self, task: &SimulatedTask, way: Way) {
        assert!(
            self.machine.pinned.get().is_none(),
            "a tracer with the scheduler's locks held"
        );
        self.events.push(Event::Moved(task.id, way));
    }

    fn gear_changed(&self, patch: &Name, gear: Gear) {
        let event = Event::Geared(patch.to_string(), gear);
        self.events.push(event);
    }
}
