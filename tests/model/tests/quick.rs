// SPDX-License-Identifier: GPL-2.0

//! The quick search, scenario by scenario, and the proof that it can fail.

use model::scenario::{Do, Scenario};
use model::scenarios;
use model::search::{self, Summary, Way};

fn scenario(name: &str) -> Scenario {
    let mut all = scenarios::all(true).into_iter();
    all.find(|scenario| scenario.name == name)
        .expect("a scenario")
}

/// Searches a scenario. Returns the trace of a violation as an error.
fn search(scenario: &Scenario, exact: bool) -> Result<Summary, String> {
    let way = Way {
        exact,
        ..Way::default()
    };
    let result = search::search(scenario, way);
    result.map_err(|violation| violation.trace.join("\n"))
}

fn holds(name: &str) {
    match search(&scenario(name), false) {
        Ok(summary) => assert!(summary.states > 100_000, "{} states", summary.states),
        Err(trace) => panic!("{name}: {trace}"),
    }
}

#[test]
fn one_patch() {
    holds("one patch");
}

#[test]
fn replace() {
    holds("replace");
}

#[test]
fn module() {
    holds("module");
}

#[test]
fn fork() {
    holds("fork");
}

#[test]
fn fork_exit_hotplug() {
    holds("fork, exit, hotplug");
}

#[test]
fn late_looks() {
    holds("late looks");
}

#[test]
fn force() {
    holds("force");
}

/// Reductions leave out states, but no violation.
#[test]
fn without_reductions() {
    let scenario = scenario("one patch");
    let (reduced, exact) = (search(&scenario, false), search(&scenario, true));
    let (reduced, exact) = (reduced.unwrap().states, exact.unwrap().states);
    assert!(reduced < exact, "{reduced} of {exact} states");
}

/// Without the wait for all CPUs, a task stays in the middle of moving. The trace says how.
#[test]
fn without_waiting() {
    for exact in [false, true] {
        let scenario = Scenario {
            waits: false,
            ..scenario("one patch")
        };
        let trace = search(&scenario, exact).expect_err("a violation");
        for line in [
            "administrator: begins to load the livepatch 'one'",
            "core: waits for all CPUs to schedule",
            "before the last step: task1 ",
        ] {
            assert!(trace.contains(line), "{line} is not in\n{trace}");
        }
    }
}

/// A wait that does not wait is no step of the proof.
#[test]
fn without_waiting_there_is_no_proof() {
    let scenario = Scenario {
        waits: false,
        ..scenario("one patch")
    };
    let way = Way {
        refine: true,
        ..Way::default()
    };
    let violation = search::search(&scenario, way).expect_err("a violation");
    let what = &violation.what;
    let changes = what.strip_prefix("no steps of the proof change: ");
    let phase = changes.is_some_and(|changes| {
        changes
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|one| one == "phase")
    });
    assert!(phase, "{what}");
}

/// If a parent can be preempted between the copies of its flag and of its state, the core moves it
/// there. The child then waits for a move that it has already made.
#[test]
fn without_preemption_off() {
    for exact in [false, true] {
        let scenario = Scenario {
            preemption_off: false,
            ..scenario("fork")
        };
        let trace = search(&scenario, exact).expect_err("a violation");
        for line in [
            "task4 is Patched and pending while the tasks are to be Patched",
            "task1 is preempted",
            "core: looks at the stack of task1",
            "task1, forking: reads the state",
        ] {
            assert!(trace.contains(line), "{line} is not in\n{trace}");
        }
    }
}

/// A task that never gives up its CPU inside a function holds up the transition for ever.
#[test]
fn without_progress() {
    let mut scenario = scenario("one patch");
    scenario.threads[1].script.retain(|item| *item != Do::Sleep);
    let trace = search(&scenario, false).expect_err("a violation");
    assert!(trace.contains("the transition does not end"), "{trace}");
}
