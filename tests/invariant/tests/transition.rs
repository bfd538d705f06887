// SPDX-License-Identifier: GPL-2.0

//! What `transition.inv` refers to is there.

use invariant::system::System;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn system() -> System {
    invariant::transition().expect("the proof can be read")
}

/// Each step names a function of the core that is there, or says what is assumed.
#[test]
fn steps_stand_for_functions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for action in &system().actions {
        let (file, function) = action.stands_for.split_once(": ").expect("a file");
        if file == "assumed" {
            continue;
        }
        let text = fs::read_to_string(root.join(file)).expect(file);
        let definition = match file.ends_with(".rs") {
            true => format!("fn {function}"),
            false => format!(" {function}"),
        };
        let mut after = text
            .match_indices(&definition)
            .map(|(at, found)| &text[at + found.len()..]);
        let found =
            after.any(|rest| !rest.starts_with(|next: char| next == '_' || next.is_alphanumeric()));
        assert!(found, "{}: {function} is not in {file}", action.name);
    }
}

/// Names are unique, and each twin breaks something that is there.
#[test]
fn twins_break_invariants() {
    let system = system();
    let names: BTreeSet<_> = system.invariants.iter().map(|own| &own.name).collect();
    assert_eq!(names.len(), system.invariants.len());
    let steps: BTreeSet<_> = system.actions.iter().map(|own| &own.name).collect();
    assert_eq!(steps.len(), system.actions.len());
    let guards = system.actions.iter().flat_map(|action| &action.guards);
    let twins: Vec<_> = guards.filter_map(|guard| guard.twin.as_ref()).collect();
    assert_eq!(twins.len(), system.twins().len());
    for (twin, broken) in twins {
        assert!(!broken.is_empty(), "{twin} breaks nothing");
        for name in broken {
            assert!(names.contains(name), "{twin}: {name} is no invariant");
        }
    }
}

/// No function leads from an element back to its own sort, except `mover`: what it is about is
/// always the task itself.
#[test]
fn questions_can_be_decided() {
    let system = system();
    let open = |sort: usize| system.sorts[sort].values.is_none();
    let mut edges: BTreeSet<(usize, usize)> = BTreeSet::new();
    for function in system.functions.iter().filter(|own| own.name != "mover") {
        let sorts = function
            .arguments
            .iter()
            .copied()
            .filter(|&sort| open(sort));
        edges.extend(
            sorts
                .map(|sort| (sort, function.result))
                .filter(|edge| open(edge.1)),
        );
    }
    // What can be reached in as many steps as there are sorts.
    for _ in &system.sorts {
        let further = edges.iter().flat_map(|&(from, over)| {
            let next = edges.iter().filter(move |edge| edge.0 == over);
            next.map(move |edge| (from, edge.1))
        });
        let further: Vec<_> = further.collect();
        edges.extend(further);
    }
    assert!(edges.iter().all(|(from, to)| from != to), "{edges:?}");
}
