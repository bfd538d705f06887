// SPDX-License-Identifier: GPL-2.0

//! Words: the path to a violation, for readers who know livepatch but not the model.

use crate::choices::Choice;
use crate::machine::{Machine, Phase};
use crate::model::Model;
use crate::program::Kind;
use crate::replay::code;
use crate::scenario::{Do, Op, CPUS, FUNCTIONS, MODULE, THREADS};
use host_tests::script::Access;
use host_tests::tasks::TaskId;
use livepatch_core::task::State;

/// Returns a task's name.
pub fn task(who: usize) -> String {
    match who.checked_sub(THREADS) {
        None => format!("task{}", who + 1),
        Some(CPUS) => "the stopper".to_owned(),
        Some(cpu) => format!("the idle task of CPU {cpu}"),
    }
}

fn task_of(id: TaskId) -> String {
    task(crate::machine::who(id))
}

fn state(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Unpatched => "unpatched",
        State::Patched => "patched",
    }
}

fn operation(model: &Model, op: Op) -> String {
    let name = |patch: u8| &model.scenario.patches[usize::from(patch)].name;
    match op {
        Op::Insmod(patch) => format!("load the livepatch '{}'", name(patch)),
        Op::Disable(patch) => format!("write 0 to {}/enabled", name(patch)),
        Op::Reverse => "write to 'enabled' again, which turns the transition round".to_owned(),
        Op::Force => "write 1 to 'force'".to_owned(),
        Op::Load => format!("load the module '{MODULE}'"),
        Op::Unload => format!("unload the module '{MODULE}'"),
        Op::Tick => "retry the transition".to_owned(),
        Op::Late => "retry the transition after its deadline".to_owned(),
    }
}

fn access(access: Access) -> String {
    let function = |address| FUNCTIONS[usize::from(code(address))].1;
    match access {
        Access::Target => "reads where the tasks are to go".to_owned(),
        Access::SetTarget(to) => format!("sets the target to {}", state(to)),
        Access::State(id) => format!("reads the state of {}", task_of(id)),
        Access::SetState(id, to) => format!("sets the state of {} to {}", task_of(id), state(to)),
        Access::IsPending(id) => format!("looks whether {} is pending", task_of(id)),
        Access::SetPending(id) => format!("sets the pending flag of {}", task_of(id)),
        Access::ClearPending(id) => format!("clears the pending flag of {}", task_of(id)),
        Access::TestAndClearPending(id) => {
            format!("tests and clears the pending flag of {}", task_of(id))
        }
        Access::Threads => "takes tasklist_lock".to_owned(),
        Access::ThreadsUnlocked => "sees which tasks there are".to_owned(),
        Access::Cpus => "takes the CPU hotplug lock".to_owned(),
        Access::Pin(id) => format!("looks at the stack of {}", task_of(id)),
        Access::Check => "gets hold of the stack check".to_owned(),
        Access::UseCheck => "searches its stack with the stack check".to_owned(),
        Access::Name => {
            "reads from the stack check the name of the function that it is inside of".to_owned()
        }
        Access::ReplaceCheck => "replaces the stack check".to_owned(),
        Access::Synchronize => "waits for all CPUs to schedule".to_owned(),
        Access::Scheduler(true) => "turns the scheduler's part on".to_owned(),
        Access::Scheduler(false) => "turns the scheduler's part off".to_owned(),
        Access::Site(address) => format!("publishes what calls of {}() get", function(address)),
        Access::Register(address) => format!("hooks {}()", function(address)),
        Access::Unregister(address) => format!("unhooks {}()", function(address)),
        Access::Callback(which, _) => format!("runs the callback {which}"),
    }
}

fn choice(model: &Model, machine: &Machine, choice: Choice) -> String {
    match choice {
        Choice::Core => match model.core.place(machine.core).next {
            Some(next) => format!("core: {}", access(next)),
            None => "core: ends".to_owned(),
        },
        Choice::Begin(None, op) => format!("core: begins to {}", operation(model, op)),
        Choice::Begin(Some(_), op) => format!("administrator: begins to {}", operation(model, op)),
        Choice::GoOn(who) => {
            let mut machine = *machine;
            let who = usize::from(who);
            match machine.part(who).phase {
                Phase::Free => String::new(),
                Phase::Handler(view) => format!(
                    "{}, in the handler of {}(): reads its own state and jumps",
                    task(who),
                    FUNCTIONS[usize::from(model.view(view).0)].1
                ),
                Phase::Program(number) => {
                    let place = model.programs.place(number);
                    let doing = match place.kind {
                        Kind::Leave if who < THREADS => "on its way to user mode",
                        Kind::Leave => "in its loop",
                        Kind::Switch => "being scheduled away",
                        Kind::Fork => "forking",
                        Kind::Look => "looking",
                    };
                    let next = access(place.next);
                    let next = match place.kind {
                        Kind::Look => next.replace("task1", &task(usize::from(machine.looked))),
                        Kind::Leave | Kind::Switch | Kind::Fork => next.replace(" of task1", ""),
                    };
                    format!("{}, {doing}: {next}", task(who))
                }
            }
        }
        Choice::Preempt(index) => format!("{} is preempted", task(usize::from(index))),
        Choice::Run(index) => format!("{} gets its CPU", task(usize::from(index))),
        Choice::Do(index, at) => {
            let name = task(usize::from(index));
            match model.item(usize::from(index), at) {
                Do::Call(function) => {
                    let called = FUNCTIONS[usize::from(function)].1;
                    match model.seen(machine).sites[usize::from(function)] {
                        Some(_) => format!("{name} calls {called}(); the handler reads its site"),
                        None => format!("{name} calls {called}(), which is not hooked"),
                    }
                }
                Do::Return => format!("{name} returns"),
                Do::Sleep if model.seen(machine).scheduler => {
                    format!("{name} begins to sleep: the scheduler looks whether it is pending")
                }
                Do::Sleep => format!("{name} sleeps"),
                Do::Preempted => format!("{name} is preempted"),
                Do::Leave => {
                    format!("{name} leaves for user mode: tests and clears its pending flag")
                }
                Do::Fork => format!(
                    "{name} forks {}: takes tasklist_lock, copies its pending flag",
                    task(THREADS - 1)
                ),
                Do::Exit => format!("{name} exits"),
                Do::Again | Do::Maybe => name,
            }
        }
        Choice::Loop(cpu) => {
            format!("the idle task of CPU {cpu}, in its loop: tests and clears its pending flag")
        }
        Choice::Look(index) => {
            let name = task(usize::from(index));
            format!("the stopper begins to look at {name}: is it pending?")
        }
        Choice::Online(cpu, true) => format!("CPU {cpu} goes online"),
        Choice::Online(cpu, false) => format!("CPU {cpu} goes offline"),
    }
}

/// Describes the state of the tasks.
fn tasks(model: &Model, machine: &Machine) -> String {
    let mut parts = Vec::new();
    for (index, thread) in machine.threads.iter().enumerate() {
        if !thread.present {
            continue;
        }
        let stack: Vec<_> = thread
            .stack
            .codes()
            .iter()
            .map(|&code| model.name(code))
            .collect();
        parts.push(format!(
            "task{} {}{}{}{}",
            index + 1,
            state(thread.part.state),
            if thread.part.pending { ", pending" } else { "" },
            if thread.running {
                ", running"
            } else {
                ", asleep"
            },
            if stack.is_empty() {
                String::new()
            } else {
                format!(" in {}", stack.join(" > "))
            },
        ));
    }
    for (cpu, idle) in machine.idles.iter().enumerate() {
        parts.push(format!(
            "the idle task of CPU {cpu} {}{}",
            state(idle.state),
            if idle.pending { ", pending" } else { "" },
        ));
    }
    parts.join("; ")
}

/// Describes the path to a violation, with a line for each step.
pub fn trace(model: &mut Model, what: &str, path: &[Choice]) -> Vec<String> {
    let mut lines = vec![format!("violation: {what}")];
    lines.push("the shortest way there:".to_owned());
    let mut machine = model.first();
    let mut left = path.iter().copied();
    for number in 1.. {
        let step = match model.is_alone(&machine) {
            Ok(false) => left.next(),
            Ok(true) | Err(_) => Some(Choice::Core),
        };
        let Some(step) = step else {
            break;
        };
        lines.push(format!("{number:4}. {}", choice(model, &machine, step)));
        match model.single_step(&machine, step) {
            Ok(next) => machine = next,
            Err(_) => break,
        }
    }
    lines.push(format!("before the last step: {}", tasks(model, &machine)));
    lines
}
