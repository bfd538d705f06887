// SPDX-License-Identifier: GPL-2.0

//! Random sequences of everything that can happen, with steps of tasks in the middle of the core's
//! operations. Each operation is followed by the checks in `host_tests::check`. At the end
//! everything is back in its first state.
#![cfg(not(loom))]

use host_tests::faults::Operation;
use host_tests::recipe::Recipe;
use host_tests::step::Step;
use host_tests::structures::PatchId;
use host_tests::tasks::TaskId;
use host_tests::world::World;
use kernel::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A step of a task or a CPU. Threads and functions are given by number.
#[derive(Clone, Copy, Debug)]
enum Does {
    Run(usize, u32),
    Sleep(usize),
    Enter(usize),
    Call(usize, usize),
    Return(usize),
    Leave(usize),
    IdleLoop(u32),
    Fork(usize),
    Exit(usize),
    Online(u32, bool),
    Look(u32),
}

/// An action of the administrator or the module loader. Livepatches are given by number.
#[derive(Clone, Copy, Debug)]
enum Act {
    Step(Does),
    Insmod(usize),
    Enabled(usize, bool),
    Force(usize),
    Rmmod(usize),
    Deferred,
    Tick,
    LoadModule,
    UnloadModule,
    Reliable(usize, bool),
    Fault(Operation, usize),
}

/// An action, the steps that interrupt it at each point, and the number of allocations that
/// succeed.
type Interrupted = (Act, Vec<(usize, Does)>, Option<usize>);

const FUNCTIONS: [&str; 5] = ["cmdline", "meminfo", "uptime", "show", "store"];

/// Returns the available livepatches.
fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::of_kernel("one", &["cmdline"]).callbacks(),
        Recipe::of_kernel("two", &["cmdline", "meminfo"])
            .module("target")
            .callbacks()
            .function("show"),
        Recipe::new("three")
            .module("target")
            .function("show")
            .function("store"),
        Recipe::of_kernel("all", &["meminfo", "uptime"]).replacing(),
        Recipe::new("target-all")
            .module("target")
            .callbacks()
            .function("store")
            .replacing(),
    ]
}

fn does() -> impl Strategy<Value = Does> {
    let thread = 0usize..5;
    let cpu = 0u32..2;
    prop_oneof![
        4 => (thread.clone(), cpu.clone()).prop_map(|(thread, cpu)| Does::Run(thread, cpu)),
        3 => thread.clone().prop_map(Does::Sleep),
        3 => thread.clone().prop_map(Does::Enter),
        6 => (thread.clone(), 0usize..5).prop_map(|(thread, f)| Does::Call(thread, f)),
        4 => thread.clone().prop_map(Does::Return),
        3 => thread.clone().prop_map(Does::Leave),
        2 => cpu.clone().prop_map(Does::IdleLoop),
        1 => thread.clone().prop_map(Does::Fork),
        1 => thread.prop_map(Does::Exit),
        1 => (cpu.clone(), any::<bool>()).prop_map(|(cpu, online)| Does::Online(cpu, online)),
        2 => cpu.prop_map(Does::Look),
    ]
}

fn act(force: bool) -> impl Strategy<Value = Act> {
    let patch = 0usize..5;
    let operation = prop_oneof![
        Just(Operation::GetModule),
        Just(Operation::Filter),
        Just(Operation::Register),
        Just(Operation::Relocate),
        Just(Operation::PrePatch),
    ];
    prop_oneof![
        12 => does().prop_map(Act::Step),
        4 => patch.clone().prop_map(Act::Insmod),
        4 => (patch.clone(), any::<bool>()).prop_map(|(patch, on)| Act::Enabled(patch, on)),
        1 => patch.clone().prop_map(move |patch| if force { Act::Force(patch) } else { Act::Tick }),
        2 => patch.prop_map(Act::Rmmod),
        1 => Just(Act::Deferred),
        5 => Just(Act::Tick),
        2 => Just(Act::LoadModule),
        2 => Just(Act::UnloadModule),
        1 => (0usize..3, any::<bool>()).prop_map(|(thread, on)| Act::Reliable(thread, on)),
        1 => (operation, 0usize..3).prop_map(|(operation, n)| Act::Fault(operation, n)),
    ]
}

fn interrupted(force: bool) -> impl Strategy<Value = Interrupted> {
    let plan = vec((0usize..50, does()), 0..4);
    let memory = prop_oneof![12 => Just(None), 1 => (0usize..40).prop_map(Some)];
    (act(force), plan, memory)
}

/// A world and the livepatches that are loaded in it.
struct Play {
    world: World,
    loaded: [Option<PatchId>; 5],
}

impl Play {
    fn new() -> Self {
        Self {
            world: World::new(),
            loaded: [None; 5],
        }
    }

    fn step(&self, does: Does) -> Option<Step> {
        let threads = self.world.kernel.machine.threads();
        let thread = |number: usize| -> Option<TaskId> { threads.get(number).map(|task| task.id) };
        let code = &self.world.kernel.code;
        Some(match does {
            Does::Run(number, cpu) => Step::Run(thread(number)?, cpu),
            Does::Sleep(number) => Step::Sleep(thread(number)?),
            Does::Enter(number) => Step::Enter(thread(number)?),
            Does::Call(number, function) => {
                let name = FUNCTIONS[function];
                let kernels = code.address(None, name);
                let address = kernels.or_else(|| code.address(Some("target"), name))?;
                Step::Call(thread(number)?, address)
            }
            Does::Return(number) => Step::Return(thread(number)?),
            Does::Leave(number) => Step::Leave(thread(number)?),
            Does::IdleLoop(cpu) => Step::IdleLoop(cpu),
            // A few threads are enough, and the last ones stay.
            Does::Fork(number) if threads.len() < 6 => Step::Fork(thread(number)?),
            Does::Exit(number) if threads.len() > 3 => Step::Exit(thread(number)?),
            Does::Fork(_) | Does::Exit(_) => return None,
            Does::Online(cpu, online) => Step::Online(cpu, online),
            Does::Look(cpu) => Step::Look(cpu),
        })
    }

    fn act(&mut self, (act, plan, memory): &Interrupted) {
        let plan: Vec<_> = plan
            .iter()
            .filter_map(|&(point, does)| Some((point, self.step(does)?)))
            .collect();
        self.world.kernel.interruptions.plan(&plan);
        kernel::alloc::fail_after(*memory);
        self.act_uninterrupted(*act);
        kernel::alloc::fail_after(None);
        self.world.kernel.interruptions.clear();
        self.world.check();
    }

    fn act_uninterrupted(&mut self, act: Act) {
        let world = &mut self.world;
        match act {
            Act::Step(does) => {
                if let Some(step) = self.step(does) {
                    let _ = self.world.kernel.step(step);
                }
            }
            Act::Insmod(number) => {
                if self.loaded[number].is_none() {
                    self.loaded[number] = world.insmod(&recipes()[number]).ok();
                }
            }
            Act::Enabled(number, on) => {
                if let Some(patch) = self.loaded[number] {
                    let _ = world.write_enabled(patch, if on { "1" } else { "0" });
                }
            }
            Act::Force(number) => {
                if let Some(patch) = self.loaded[number] {
                    let _ = world.force(patch);
                }
            }
            Act::Rmmod(number) => {
                if let Some(patch) = self.loaded[number] {
                    if world.rmmod(patch).is_ok() {
                        self.loaded[number] = None;
                    }
                }
            }
            Act::Deferred => world.run_deferred(),
            Act::Tick => world.tick(),
            Act::LoadModule => {
                if !world.is_loaded("target") {
                    let _ = world.load_module("target");
                }
            }
            Act::UnloadModule => {
                if world.is_loaded("target") && world.is_module_unused("target") {
                    world.unload_module("target");
                }
            }
            Act::Reliable(thread, reliable) => {
                if let Some(task) = world.kernel.machine.threads().get(thread) {
                    task.reliable.set(reliable);
                }
            }
            Act::Fault(operation, n) => world.kernel.faults.after(operation, n, EBUSY),
        }
    }

    /// Takes all tasks out of the kernel, then disables and unloads everything. Nothing may be
    /// left.
    fn end(mut self) {
        self.world.kernel.faults.clear();
        for (number, _) in (0..).zip(self.world.kernel.machine.cpus()) {
            let _ = self.world.kernel.step(Step::Online(number, true));
        }
        for task in self.world.kernel.machine.threads() {
            task.reliable.set(true);
            task.stack.borrow_mut().clear();
            let _ = self.world.kernel.step(Step::Sleep(task.id));
        }
        self.world.wait();
        while let Some(patch) = self.world.core.patches().last().map(|patch| patch.handle) {
            self.world.write_enabled(patch, "0").unwrap();
            self.world.wait();
        }
        self.world.run_deferred();
        for patch in self.loaded.into_iter().flatten() {
            let forced = self.world.kernel.structures.patch(patch).forced;
            assert_eq!(self.world.rmmod(patch).is_err(), forced);
        }
        if self.world.is_loaded("target") {
            self.world.unload_module("target");
        }
        self.world.check_pristine();
    }
}

fn play(acts: &[Interrupted]) {
    let mut play = Play::new();
    for act in acts {
        play.act(act);
    }
    play.end();
}

proptest! {
    #[test]
    fn whatever_happens_invariants_hold(acts in vec(interrupted(false), 1..60)) {
        play(&acts);
    }

    #[test]
    fn bookkeeping_survives_force(acts in vec(interrupted(true), 1..60)) {
        play(&acts);
    }
}

/// The same actions lead to the same world. A model checker that replays them relies on this.
#[test]
fn worlds_are_deterministic() {
    let acts = [
        Act::Insmod(0),
        Act::Step(Does::Run(0, 0)),
        Act::Step(Does::Enter(0)),
        Act::Step(Does::Call(0, 0)),
        Act::LoadModule,
        Act::Tick,
        Act::Insmod(3),
        Act::Tick,
    ];
    let run = || {
        let mut play = Play::new();
        for act in acts {
            play.act(&(act, vec![(3, Does::Fork(0)), (9, Does::Return(0))], None));
        }
        (play.world.snapshot(), play.world.full_dmesg())
    };
    assert_eq!(run(), run());
}
