// SPDX-License-Identifier: GPL-2.0

//! The scenarios.

use crate::scenario::Do::{Again, Call, Exit, Fork, Leave, Maybe, Preempted, Return, Sleep};
use crate::scenario::Op::{Disable, Force, Insmod, Late, Load, Reverse, Unload};
use crate::scenario::{Do, Scenario, Thread, COPY, MODULE, READ, SHOW};
use host_tests::recipe::Recipe;

fn user(cpu: u8, script: &[Do]) -> Thread {
    Thread {
        kthread: false,
        cpu,
        script: script.to_vec(),
    }
}

fn kthread(cpu: u8, script: &[Do]) -> Thread {
    Thread {
        kthread: true,
        ..user(cpu, script)
    }
}

/// One patch is enabled, reversed and disabled at any time, while tasks run for ever.
fn one_patch() -> Scenario {
    Scenario {
        name: "one patch",
        patches: vec![Recipe::of_kernel("one", &["read", "copy"])],
        threads: vec![
            user(0, &[Call(READ), Call(COPY), Return, Return, Leave, Again]),
            kthread(1, &[Call(COPY), Return, Sleep, Again]),
        ],
        actors: vec![vec![Insmod(0), Disable(0)], vec![Reverse]],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// A patch with a nop atomically replaces another one, and is reversed and disabled.
fn replace() -> Scenario {
    Scenario {
        name: "replace",
        patches: vec![
            Recipe::of_kernel("one", &["read", "copy"]).callbacks(),
            Recipe::of_kernel("all", &["read"]).callbacks().replacing(),
        ],
        threads: vec![
            user(0, &[Call(READ), Call(COPY), Sleep, Return, Return, Leave]),
            kthread(1, &[Call(COPY), Return, Sleep, Again]),
        ],
        actors: vec![vec![Insmod(0), Insmod(1), Disable(1)], vec![Reverse]],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// A module is loaded and unloaded at any time.
fn module() -> Scenario {
    Scenario {
        name: "module",
        patches: vec![
            Recipe::of_kernel("one", &["copy"])
                .module(MODULE)
                .callbacks()
                .function("show"),
            Recipe::of_kernel("all", &["copy"]).replacing(),
        ],
        threads: vec![
            user(
                0,
                &[Maybe, Call(SHOW), Sleep, Call(COPY), Return, Return, Leave],
            ),
            kthread(1, &[Call(COPY), Return, Sleep]),
        ],
        actors: vec![
            vec![Insmod(0), Insmod(1)],
            vec![Reverse],
            vec![Load, Unload],
        ],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// A thread forks outside of all functions, where it may be moved.
fn fork() -> Scenario {
    Scenario {
        name: "fork",
        patches: vec![Recipe::of_kernel("one", &["read", "copy"])],
        threads: vec![
            user(0, &[Fork, Call(READ), Return, Leave]),
            user(1, &[Call(COPY), Return, Leave]),
            kthread(0, &[]),
            user(0, &[Call(COPY), Return]),
        ],
        actors: vec![vec![Insmod(0)], vec![Reverse]],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// Threads and CPUs come and go.
fn fork_exit_hotplug() -> Scenario {
    Scenario {
        name: "fork, exit, hotplug",
        patches: vec![Recipe::of_kernel("one", &["read", "copy"])],
        threads: vec![
            user(0, &[Call(READ), Fork, Return, Leave]),
            user(1, &[Call(COPY), Return, Exit]),
            kthread(0, &[]),
            user(0, &[Call(COPY), Return]),
        ],
        actors: vec![vec![Insmod(0)], vec![Reverse]],
        offline: 1,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// A thread neither sleeps nor leaves the kernel. A stopper looks at it early or late: after a
/// reversal, after the end, in the next transition, or after the thread's exit.
fn late_looks() -> Scenario {
    Scenario {
        name: "late looks",
        patches: vec![Recipe::of_kernel("one", &["copy"])],
        threads: vec![kthread(
            0,
            &[Call(COPY), Preempted, Return, Preempted, Maybe, Exit, Again],
        )],
        looks: 2,
        ..one_patch()
    }
}

/// The deadline of a transition comes at any time, also around a reversal.
fn deadline() -> Scenario {
    Scenario {
        name: "deadline",
        actors: vec![vec![Insmod(0), Disable(0)], vec![Reverse], vec![Late]],
        ..one_patch()
    }
}

/// The deadline comes while the transition is forced.
fn deadline_and_force() -> Scenario {
    Scenario {
        name: "deadline and force",
        actors: vec![vec![Insmod(0), Disable(0)], vec![Force], vec![Late]],
        ..one_patch()
    }
}

/// A transition is forced. The code stays in memory, and the books are right.
fn force() -> Scenario {
    Scenario {
        name: "force",
        patches: vec![
            Recipe::of_kernel("one", &["read", "copy"]),
            Recipe::of_kernel("all", &["copy"]).replacing(),
        ],
        threads: vec![
            user(0, &[Call(READ), Call(COPY), Sleep, Return, Return]),
            user(1, &[Call(COPY), Return]),
        ],
        actors: vec![vec![Insmod(0), Insmod(1), Disable(1)], vec![Force]],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// A transition is forced and reversed.
fn force_and_reverse() -> Scenario {
    Scenario {
        name: "force and reverse",
        actors: vec![
            vec![Insmod(0), Insmod(1), Disable(1)],
            vec![Force],
            vec![Reverse],
        ],
        ..force()
    }
}

/// Three patches are stacked, and a fourth one replaces them. Each transition may be reversed,
/// twice.
fn stack() -> Scenario {
    Scenario {
        name: "stack",
        patches: vec![
            Recipe::of_kernel("one", &["read", "copy"]).callbacks(),
            Recipe::of_kernel("two", &["copy"]).callbacks(),
            Recipe::of_kernel("three", &["read", "copy"]).callbacks(),
            Recipe::of_kernel("all", &["read"]).replacing(),
        ],
        threads: vec![
            user(0, &[Call(READ), Call(COPY), Sleep, Return, Return, Leave]),
            kthread(1, &[Call(COPY), Return, Sleep]),
        ],
        actors: vec![
            vec![Insmod(0), Insmod(1), Insmod(2), Insmod(3)],
            vec![Reverse, Reverse],
            vec![Disable(0), Disable(1)],
        ],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// Tasks run for ever and share their CPUs.
fn for_ever() -> Scenario {
    Scenario {
        name: "for ever",
        threads: vec![
            user(
                0,
                &[
                    Call(READ),
                    Call(COPY),
                    Maybe,
                    Sleep,
                    Return,
                    Return,
                    Leave,
                    Again,
                ],
            ),
            kthread(1, &[Call(COPY), Return, Sleep, Again]),
            user(0, &[Maybe, Call(COPY), Return, Leave, Sleep, Again]),
        ],
        actors: vec![vec![Insmod(0), Disable(0)], vec![Reverse, Reverse]],
        offline: 1,
        ..one_patch()
    }
}

/// Threads and CPUs come and go while a patch is replaced.
fn hotplug() -> Scenario {
    Scenario {
        name: "hotplug",
        patches: vec![
            Recipe::of_kernel("one", &["read", "copy"]),
            Recipe::of_kernel("all", &["copy"]).replacing(),
        ],
        actors: vec![vec![Insmod(0), Insmod(1)], vec![Reverse]],
        ..fork_exit_hotplug()
    }
}

/// Everything at once: three threads and a forked one, two CPUs, three functions of which one calls
/// another, three patches of which the last replaces the others, a module, a reversal and an exit.
fn all_at_once() -> Scenario {
    Scenario {
        name: "all at once",
        patches: vec![
            Recipe::of_kernel("one", &["read", "copy"]),
            Recipe::of_kernel("two", &["copy"])
                .module(MODULE)
                .function("show"),
            Recipe::of_kernel("all", &["copy"]).replacing(),
        ],
        threads: vec![
            user(0, &[Call(READ), Call(COPY), Sleep, Return, Return, Leave]),
            user(1, &[Fork, Call(COPY), Return, Exit]),
            kthread(0, &[Maybe, Call(SHOW), Return, Sleep]),
            user(1, &[Call(READ), Return]),
        ],
        actors: vec![
            vec![Insmod(0), Insmod(1), Insmod(2)],
            vec![Reverse],
            vec![Load],
        ],
        offline: 0,
        looks: 0,
        waits: true,
        preemption_off: true,
    }
}

/// Returns all scenarios of the quick or of the full search.
pub fn all(quick: bool) -> Vec<Scenario> {
    let mut scenarios = vec![
        one_patch(),
        replace(),
        module(),
        fork(),
        fork_exit_hotplug(),
        late_looks(),
        force(),
    ];
    if !quick {
        scenarios.extend([
            force_and_reverse(),
            deadline(),
            deadline_and_force(),
            stack(),
            for_ever(),
            hotplug(),
            all_at_once(),
        ]);
    }
    scenarios
}
