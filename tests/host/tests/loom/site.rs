// SPDX-License-Identifier: GPL-2.0

//! A site alone: calls on other CPUs against its one publisher.

use crate::explore;
use kernel::sync::atomic::{Atomic, Relaxed};
use livepatch_core::site::{
    Site,
    Target::{self, Replacement},
    View,
};
use livepatch_core::task::State;
use loom::sync::atomic::{fence, AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// The address of the first replacement.
const FIRST: usize = 0x1000;

/// The version that all tasks have in the tests with transitions.
const KEPT: Target = Replacement(FIRST);

/// Returns the other version in a transition, which no task gets.
const fn decoy(transition: usize) -> Target {
    Replacement(FIRST + transition)
}

/// Returns the view of a transition in which tasks in `state` keep their version.
fn transition(number: usize, state: State) -> View {
    match state {
        State::Patched => View::InTransition {
            newest: KEPT,
            below: decoy(number),
        },
        _ => View::InTransition {
            newest: decoy(number),
            below: KEPT,
        },
    }
}

/// The site, and the CPUs that call its function. The tasks there do not move.
struct Machine {
    site: Site,
    /// The state of all tasks.
    state: Atomic<i32>,
    /// One per CPU, held while preemption is off there.
    sections: Vec<Mutex<()>>,
}

impl Machine {
    /// Creates a machine whose site shows `view`, with tasks in `state`.
    fn new(cpus: usize, view: View, state: State) -> Arc<Self> {
        let machine = Self {
            site: Site::new(view),
            state: Atomic::new(state.to_raw()),
            sections: (0..cpus).map(|_| Mutex::new(())).collect(),
        };
        // The first accesses create loom's atomics.
        machine.state.load(Relaxed);
        assert_eq!(machine.site.view(), view);
        Arc::new(machine)
    }

    /// Calls the function on this CPU. Returns what the call gets.
    fn call(&self, cpu: usize) -> Target {
        let _section = self.sections[cpu].lock().unwrap();
        self.site.choose(|| {
            let state = State::from_raw(self.state.load(Relaxed));
            assert_ne!(state, State::Idle, "a transition, and a task without state");
            state
        })
    }

    /// Gives the tasks their state and shows a transition, as the core does.
    fn begin(&self, number: usize, state: State) {
        self.state.store(state.to_raw(), Relaxed);
        fence(Ordering::Release);
        self.site.publish(transition(number, state));
    }

    /// Ends the transition, as the core does.
    fn end(&self) {
        self.site.publish(View::Settled(KEPT));
        for section in &self.sections {
            drop(section.lock().unwrap());
        }
        self.state.store(State::Idle.to_raw(), Relaxed);
    }
}

/// Explores a call on each of `cpus` CPUs, against what the publisher `does`. Each call has to get
/// the version that is kept. If the tasks have a state, they begin in the first transition.
fn kept(name: &str, cpus: usize, preemptions: usize, state: State, does: fn(&Machine)) {
    explore(name, preemptions, move || {
        let view = match state {
            State::Idle => View::Settled(KEPT),
            state => transition(1, state),
        };
        let machine = Machine::new(cpus, view, state);
        let threads: Vec<_> = (0..cpus)
            .map(|cpu| {
                let machine = machine.clone();
                thread::spawn(move || assert_eq!(machine.call(cpu), KEPT, "mixed"))
            })
            .collect();
        does(&machine);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_call_at_the_begin_of_a_transition() {
    kept("site, begin to unpatch", 1, 4, State::Idle, |machine| {
        machine.begin(1, State::Patched);
    });
    kept("site, begin to patch", 1, 4, State::Idle, |machine| {
        machine.begin(1, State::Unpatched);
    });
}

#[test]
fn a_call_at_the_end_of_a_transition() {
    for state in [State::Unpatched, State::Patched] {
        kept("site, end", 1, 4, state, Machine::end);
    }
}

/// The versions of the first transition are overwritten.
#[test]
fn a_call_from_one_transition_to_the_next() {
    kept("site, end and begin", 1, 3, State::Patched, |machine| {
        machine.end();
        machine.begin(2, State::Unpatched);
    });
}

#[test]
fn a_call_in_a_whole_transition() {
    kept("site, begin and end", 1, 3, State::Idle, |machine| {
        machine.begin(1, State::Patched);
        machine.end();
    });
}

#[test]
fn two_calls_from_one_transition_to_the_next() {
    kept("site, two calls", 2, 1, State::Patched, |machine| {
        machine.end();
        machine.begin(2, State::Unpatched);
    });
}

/// The wait is all that keeps the versions of two transitions apart.
#[test]
#[should_panic(expected = "mixed")]
fn without_the_wait_two_transitions_mix() {
    kept("site, no wait", 1, 3, State::Patched, |machine| {
        machine.site.publish(View::Settled(KEPT));
        machine.begin(2, State::Unpatched);
    });
}

/// Explores two calls, one after the other, of a task in `state`, against the publication of
/// `views` in their order. Each call gets a version that its task has in one of the views, and the
/// second call none from an earlier view.
fn forward(name: &str, views: &'static [View], state: State) {
    explore(name, 3, move || {
        let machine = Machine::new(1, views[0], state);
        let thread = {
            let machine = machine.clone();
            thread::spawn(move || [(); 2].map(|()| machine.call(0)))
        };
        for &view in &views[1..] {
            machine.site.publish(view);
        }
        let targets = || views.iter().map(|view| view.choose(|| state));
        let number = |call| targets().position(|target| target == call).expect("shown");
        let [first, second] = thread.join().unwrap().map(number);
        assert!(second >= first, "back in time");
        // A call that is ordered after the publisher gets the last version.
        assert_eq!(Some(machine.call(0)), targets().last());
    });
}

/// A transition from its begin to its end, with a change of both versions in the middle.
const VIEWS: [View; 4] = [
    View::Settled(Replacement(FIRST)),
    View::InTransition {
        newest: Replacement(FIRST + 1),
        below: Replacement(FIRST),
    },
    View::InTransition {
        newest: Replacement(FIRST + 2),
        below: Replacement(FIRST + 3),
    },
    View::Settled(Replacement(FIRST + 4)),
];

#[test]
fn a_task_never_goes_back() {
    for state in [State::Unpatched, State::Patched] {
        forward("site, begin and change", &VIEWS[..3], state);
        forward("site, change and end", &VIEWS[1..], state);
    }
}

/// What `Site::publish` promises to its caller.
#[test]
fn what_is_stored_later_is_seen_later() {
    explore("site, a later store", 3, || {
        let machine = Machine::new(1, View::Settled(decoy(1)), State::Patched);
        let flag = Arc::new(AtomicBool::new(false));
        let thread = {
            let (machine, flag) = (machine.clone(), flag.clone());
            thread::spawn(move || {
                if flag.load(Ordering::Relaxed) {
                    fence(Ordering::Acquire);
                    assert_eq!(machine.call(0), KEPT);
                }
            })
        };
        machine.site.publish(View::Settled(KEPT));
        flag.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    });
}
