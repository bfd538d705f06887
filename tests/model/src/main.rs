// SPDX-License-Identifier: GPL-2.0

//! `cargo run --release -p model [-- --quick] [SCENARIO...]`

use model::scenarios;
use model::search::{self, Way};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        before != arguments.len()
    };
    let (quick, exact, refine) = (flag("--quick"), flag("--exact"), flag("--refine"));
    for scenario in scenarios::all(quick) {
        if !arguments.is_empty() && !arguments.iter().any(|name| name == scenario.name) {
            continue;
        }
        let way = Way {
            exact: exact || scenario.looks_twice(),
            progress: true,
            refine,
        };
        match search::search(&scenario, way) {
            Ok(summary) => {
                if let Some(refined) = &summary.refined {
                    let met: Vec<_> = refined.met.iter().map(String::as_str).collect();
                    println!(
                        "proof: {}: {} states, {} steps, made of {}",
                        scenario.name,
                        refined.states,
                        refined.steps,
                        met.join(" ")
                    );
                }
                println!(
                "  {} places in the core, {} of them at rest, {} runs of it; longest way home {}; \
                 {:.1} s, {} MB\nmodel: {}: {} states, {} transitions, depth {}, 5 properties hold",
                summary.places.0,
                summary.places.1,
                summary.replays,
                summary.home,
                summary.seconds,
                summary.bytes >> 20,
                scenario.name,
                summary.states,
                summary.transitions,
                summary.depth,
                );
            }
            Err(violation) => {
                for line in &violation.trace {
                    println!("  {line}");
                }
                println!(
                    "model: {}: violation after {} steps: {}",
                    scenario.name, violation.steps, violation.what
                );
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
