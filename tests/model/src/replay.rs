// SPDX-License-Identifier: GPL-2.0

//! Replay: runs the core's own code up to a point in the middle of an operation.
//!
//! The core can't be copied, but it is deterministic. What it does is a function of the operations
//! that it was asked for and of what each of its accesses to shared data yielded. So a place in the
//! core is a list of answers. To go on from a place, the replay runs the whole operation again with
//! one more answer.

use crate::scenario::{Op, Scenario, CPUS, FUNCTIONS, MODULE, THREADS};
use host_tests::code::SIZE;
use host_tests::script::{self, Access, Answer, Script};
use host_tests::step::INSIDE;
use host_tests::structures::{ModuleState, PatchId};
use host_tests::tasks::TaskId;
use host_tests::world::World;
use livepatch_core::site::{Target, View};
use livepatch_core::stack::{Check, StackCheck};
use livepatch_core::task::State;
use livepatch_core::transition::Deadline;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;

/// The greatest depth of a stack.
pub const DEPTH: usize = 3;

/// Code, by number. The functions come first, then the replacements, patch by patch.
pub type Code = u8;

/// Returns the address of code, which is always loaded at the same place.
pub const fn address(code: Code) -> usize {
    0x1000 + code as usize * SIZE
}

/// Returns the code at an address.
pub const fn code(address: usize) -> Code {
    ((address - 0x1000) / SIZE) as Code
}

/// A stack of functions, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stack {
    depth: u8,
    codes: [Code; DEPTH],
}

impl Stack {
    /// Returns the functions on the stack.
    pub fn codes(&self) -> &[Code] {
        &self.codes[..usize::from(self.depth)]
    }

    /// Calls a function.
    pub fn push(&mut self, code: Code) {
        self.codes[usize::from(self.depth)] = code;
        self.depth += 1;
    }

    /// Returns from the innermost function.
    pub fn pop(&mut self) {
        self.depth -= 1;
        self.codes[usize::from(self.depth)] = 0;
    }

    /// Returns the stack in a few bytes.
    pub fn bytes(&self) -> [u8; DEPTH + 1] {
        [self.depth, self.codes[0], self.codes[1], self.codes[2]]
    }

    /// Returns return addresses, each somewhere inside its function.
    fn addresses(&self) -> Vec<usize> {
        let codes = self.codes().iter();
        codes.map(|&code| address(code) + INSIDE).collect()
    }
}

/// What an access yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Nothing, or a value that only the holder of the core's lock changes.
    Own,
    /// A state.
    State(State),
    /// A truth value.
    Flag(bool),
    /// The threads or CPUs that exist, a bit for each.
    Present(u32),
    /// Whether the task is running, and its stack.
    Pinned(bool, Stack),
    /// A stack check, by number.
    Check(Option<u16>),
}

/// A stack check. What it says of each function in either direction tells it from others.
pub struct KnownCheck {
    says: Vec<[bool; 2]>,
    check: Rc<Check>,
}

/// All stack checks that were ever seen.
#[derive(Default)]
pub struct Checks(RefCell<Vec<KnownCheck>>);

impl Checks {
    fn number(&self, check: Rc<Check>, codes: usize) -> u16 {
        let inside = |check: &StackCheck, target, code| {
            check
                .find(target, &[address(code as Code) + INSIDE])
                .is_some()
        };
        let says: Vec<_> = (0..codes)
            .map(|code| [State::Patched, State::Unpatched].map(|to| inside(&check, to, code)))
            .collect();
        let mut known = self.0.borrow_mut();
        let index = known.iter().position(|known| known.says == says);
        let index = index.unwrap_or_else(|| {
            known.push(KnownCheck { says, check });
            known.len() - 1
        });
        u16::try_from(index).expect("few stack checks")
    }

    /// Whether a stack check keeps a task in some code from moving to `target`.
    pub fn says(&self, number: u16, code: usize, target: State) -> bool {
        self.0.borrow()[usize::from(number)].says[code][usize::from(target != State::Patched)]
    }

    fn get(&self, number: u16) -> Rc<Check> {
        self.0.borrow()[usize::from(number)].check.clone()
    }
}

/// What others can see of the core, and what it lets them do, at some place in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// For each function, what its site shows. `None`: calls don't go through the handler.
    pub sites: [Option<Site>; FUNCTIONS.len()],
    /// For each function, whether it has a hook, which handlers may still be using.
    pub hooks: [bool; FUNCTIONS.len()],
    /// The target of the transition.
    pub target: State,
    /// Whether the scheduler tries to move tasks.
    pub scheduler: bool,
    /// Whether a retry was asked for.
    pub retry: bool,
    /// Whether threads, and whether CPUs, are kept from coming and going.
    pub locked: (bool, bool),
    /// The task that is pinned.
    pub pinned: Option<TaskId>,
    /// The stack check.
    pub check: Option<u16>,
    /// Whether all stack checks that were replaced in this operation still exist.
    pub old_checks: bool,
    /// Code that was released, a bit for each.
    pub gone: u64,
    /// The patches that stay in memory since a transition was forced, a bit for each.
    pub kept: u8,
    /// Whether the module can be called.
    pub live: bool,
}

/// A [`View`] that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site(pub View);

impl std::hash::Hash for Site {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let number = |target| match target {
            Target::Original => 0,
            Target::Replacement(address) => address,
        };
        match self.0 {
            View::Settled(target) => (number(target), None),
            View::InTransition { newest, below } => (number(newest), Some(number(below))),
        }
        .hash(state);
    }
}

/// How far a replay got.
pub struct Run {
    /// The first access without an answer. `None`: the operation has ended.
    pub next: Option<Access>,
    /// What others see at that point.
    pub seen: Seen,
    /// The world as the replay left it.
    pub world: World,
    /// The handle of each patch, by number.
    pub patches: Vec<Option<PatchId>>,
    /// All callbacks so far.
    pub callbacks: Vec<(&'static str, usize)>,
}

/// The payload of the unwinding from an access without an answer.
struct Unanswered;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics that are part of the search: they become the report.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}

/// Runs `job`. A panic becomes an error.
fn caught(job: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(job));
    QUIET.set(false);
    result
}

/// A script that answers from a list.
struct Tape {
    answers: RefCell<VecDeque<Answer>>,
    next: Cell<Option<Access>>,
    contents: RefCell<BTreeSet<usize>>,
    callbacks: RefCell<Vec<(&'static str, usize)>>,
    core: bool,
}

impl Script for Tape {
    fn access(&self, access: Access) -> Answer {
        if self.core
            && matches!(
                access,
                Access::Target | Access::Check | Access::UseCheck | Access::Name
            )
        {
            // Only the holder of the lock writes these.
            return Answer::Own;
        }
        let Some(answer) = self.answers.borrow_mut().pop_front() else {
            self.next.set(Some(access));
            // Unwinding frees what the core was about to free.
            self.contents.replace(kernel::alloc::contents());
            resume_unwind(Box::new(Unanswered));
        };
        if let Access::Callback(which, object) = access {
            self.callbacks.borrow_mut().push((which, object.0));
        }
        answer
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        })
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// Runs `job` with `tape`. A panic becomes an error, unless it only asks for an answer.
fn scripted(tape: &Rc<Tape>, job: impl FnOnce()) -> Result<(), String> {
    script::install(Some(tape.clone()));
    let result = caught(job);
    script::install(None);
    match result {
        Ok(()) => Ok(()),
        Err(payload) if payload.is::<Unanswered>() => Ok(()),
        Err(payload) => Err(message(&*payload)),
    }
}

/// Runs a check of the simulation. A panic becomes an error.
pub fn checked(job: impl FnOnce()) -> Result<(), String> {
    caught(job).map_err(|payload| message(&*payload))
}

/// Replays the core's operations in a scenario.
pub struct Replayer {
    scenario: Scenario,
    /// The stack checks.
    pub checks: Rc<Checks>,
    /// All code: the module it belongs to, and the function it is a version of.
    pub codes: Vec<(Option<String>, u8)>,
    /// The number of replays so far.
    pub replays: usize,
}

impl Replayer {
    /// Creates a replayer for a scenario.
    pub fn new(scenario: Scenario) -> Self {
        let mut codes: Vec<_> = (0..)
            .zip(FUNCTIONS)
            .map(|(number, (object, _))| (object.map(str::to_owned), number))
            .collect();
        for patch in &scenario.patches {
            for function in patch.objects.iter().flat_map(|object| &object.functions) {
                let number = FUNCTIONS
                    .iter()
                    .position(|(_, name)| *name == function.name);
                let number = number.expect("a known function");
                codes.push((Some(patch.name.clone()), number as u8));
            }
        }
        Self {
            scenario,
            checks: Rc::default(),
            codes,
            replays: 0,
        }
    }

    /// Returns the code of a patch's version of a function.
    pub fn replacement(&self, patch: &str, function: u8) -> Option<Code> {
        let wanted = |(owner, own): &(Option<String>, u8)| {
            owner.as_deref() == Some(patch) && *own == function
        };
        let found = self.codes.iter().skip(FUNCTIONS.len()).position(wanted)?;
        Some((FUNCTIONS.len() + found) as Code)
    }

    fn world(&self) -> World {
        let world = World::empty();
        for _ in 0..CPUS {
            world.kernel.machine.add_cpu();
        }
        for thread in 0..THREADS {
            let kthread = self.scenario.threads.get(thread);
            world
                .kernel
                .machine
                .add_thread(kthread.is_some_and(|thread| thread.kthread));
        }
        for (object, function) in &self.codes {
            let name = FUNCTIONS[usize::from(*function)].1;
            world.kernel.code.reserve(object.as_deref(), name);
            if object.is_none() {
                world.kernel.code.add(None, name);
            }
        }
        world.kernel.structures.add_module(MODULE);
        world
    }

    fn answer(&self, reply: &Reply) -> Answer {
        match *reply {
            Reply::Own => Answer::Own,
            Reply::State(state) => Answer::State(state),
            Reply::Flag(flag) => Answer::Flag(flag),
            Reply::Present(present) => Answer::Present(present),
            Reply::Pinned(running, stack) => Answer::Pinned(running, stack.addresses()),
            Reply::Check(check) => Answer::Check(check.map(|number| self.checks.get(number))),
        }
    }

    fn tape(&self, replies: &[&[Reply]], core: bool) -> Rc<Tape> {
        let answers = replies.iter().copied().flatten();
        Rc::new(Tape {
            answers: RefCell::new(answers.map(|reply| self.answer(reply)).collect()),
            next: Cell::new(None),
            contents: RefCell::default(),
            callbacks: RefCell::default(),
            core,
        })
    }

    /// Runs whole operations, and then one as far as there are answers.
    ///
    /// Returns an error if the core or the simulation objects.
    pub fn run(
        &mut self,
        history: &[(Op, Vec<Reply>)],
        last: Option<(Op, &[Reply])>,
    ) -> Result<Run, String> {
        quiet_panics();
        self.replays += 1;
        let mut world = self.world();
        let mut patches = vec![None; self.scenario.patches.len()];
        let mut replies: Vec<&[Reply]> = history.iter().map(|(_, tape)| &tape[..]).collect();
        replies.extend(last.map(|(_, tape)| tape));
        let tape = self.tape(&replies, true);
        let ops = history.iter().map(|&(op, _)| op);
        for op in ops.chain(last.map(|(op, _)| op)) {
            world.kernel.machine.replaced.borrow_mut().clear();
            let result = scripted(&tape, || self.act(&mut world, &mut patches, op));
            let warnings = kernel::warnings();
            if warnings > 0 {
                return Err("the core warned: one of its invariants does not hold".to_owned());
            }
            result?;
            if tape.next.get().is_some() {
                break;
            }
            checked(|| self.clean_up(&mut world, &patches))?;
        }
        if tape.next.get().is_none() && !tape.answers.borrow().is_empty() {
            return Err("the core is not deterministic".to_owned());
        }
        let seen = self.seen(&world, &patches, &tape.contents.take());
        let callbacks = tape.callbacks.take();
        let next = tape.next.get();
        Ok(Run {
            next,
            seen,
            world,
            patches,
            callbacks,
        })
    }

    fn act(&self, world: &mut World, patches: &mut [Option<PatchId>], op: Op) {
        match op {
            Op::Insmod(number) => {
                let number = usize::from(number);
                // The structure exists first, even if the operation is interrupted later.
                let id = world
                    .kernel
                    .structures
                    .new_patch(&self.scenario.patches[number].name);
                patches[number] = Some(id);
                let result = world.enable(id, &self.scenario.patches[number]);
                result.expect("the patch is enabled");
            }
            Op::Disable(number) => {
                let patch = patches[usize::from(number)].expect("a patch");
                world.write_enabled(patch, "0").expect("it is disabled");
            }
            Op::Reverse => {
                let patch = in_transition(world).expect("a transition");
                let patches = world.core.patches().iter();
                let enabled = patches
                    .filter(|own| own.handle == patch)
                    .any(|own| own.enabled);
                let text = if enabled { "0" } else { "1" };
                world.write_enabled(patch, text).expect("it is reversed");
            }
            Op::Force => {
                let patch = in_transition(world).expect("a transition");
                world.force(patch).expect("it is forced");
            }
            Op::Load => world.load_module(MODULE).expect("the module is loaded"),
            Op::Unload => world.unload_module(MODULE),
            Op::Tick => world.tick(),
            Op::Late => {
                let patch = in_transition(world).expect("a transition");
                let set = |world: &mut World, deadline| {
                    let result = world.core.set_deadline(&world.kernel, patch, deadline);
                    result.expect("the patch is there");
                };
                set(world, Deadline::from_seconds(1));
                let clock = &world.kernel.machine.clock;
                clock.set(clock.get() + 1000);
                world.tick();
                // Other retries come before a deadline.
                if in_transition(world).is_some() {
                    set(world, Deadline::OFF);
                }
            }
        }
    }

    /// Does what follows an operation at once: runs the work that frees patches, and unloads their
    /// modules.
    fn clean_up(&self, world: &mut World, patches: &[Option<PatchId>]) {
        world.run_deferred();
        for &patch in patches.iter().flatten() {
            let listed = world.core.patches().iter().any(|own| own.handle == patch);
            if !listed && !world.kernel.structures.patch(patch).forced {
                world.rmmod(patch).expect("nobody needs the module");
            }
        }
        world.kernel.machine.replaced.borrow_mut().clear();
        if in_transition(world).is_none() {
            // A retry would do nothing.
            world.kernel.machine.retry.set(None);
        }
    }

    fn seen(&self, world: &World, patches: &[Option<PatchId>], contents: &BTreeSet<usize>) -> Seen {
        let machine = &world.kernel.machine;
        let mut sites = [None; FUNCTIONS.len()];
        for (function, view) in world.kernel.ftrace.hooked() {
            sites[usize::from(code(function))] = Some(Site(view));
        }
        let hooks =
            std::array::from_fn(|number| world.kernel.ftrace.has_hook(address(number as Code)));
        let replaced = machine.replaced.borrow();
        let (mut gone, mut kept) = (0, 0);
        for (number, recipe) in self.scenario.patches.iter().enumerate() {
            let Some(patch) = patches[number] else {
                continue;
            };
            let structure = world.kernel.structures.patch(patch);
            let listed = world.kernel.structures.is_listed(patch);
            kept |= u8::from(structure.forced) << number;
            if structure.prepared && !listed && !structure.forced {
                for function in 0..FUNCTIONS.len() as u8 {
                    if let Some(code) = self.replacement(&recipe.name, function) {
                        gone |= 1 << code;
                    }
                }
            }
        }
        let (_, module) = world.kernel.structures.module(MODULE).expect("the module");
        if module.state == ModuleState::Gone {
            for (code, (_, function)) in self.codes.iter().enumerate() {
                if FUNCTIONS[usize::from(*function)].0.is_some() {
                    gone |= 1 << code;
                }
            }
        }
        Seen {
            sites,
            hooks,
            target: machine.target(),
            scheduler: machine.scheduler.get(),
            retry: machine.retry.get().is_some(),
            locked: (machine.locked.get(), machine.cpus_locked.get()),
            pinned: machine.pinned.get(),
            check: machine
                .check()
                .map(|check| self.checks.number(check, self.codes.len())),
            old_checks: !replaced.is_empty()
                && replaced.iter().all(|content| contents.contains(content)),
            gone,
            kept,
            live: module.state == ModuleState::Live,
        }
    }

    /// Runs a part of the core on a task's behalf, as far as there are answers. Returns the access
    /// that has none.
    ///
    /// Returns an error if the core or the simulation objects.
    pub fn run_task(
        &mut self,
        job: impl FnOnce(),
        replies: &[Reply],
    ) -> Result<Option<Access>, String> {
        self.replays += 1;
        let tape = self.tape(&[replies], false);
        scripted(&tape, job)?;
        if kernel::warnings() > 0 {
            return Err("the core warned".to_owned());
        }
        Ok(tape.next.get())
    }
}

/// Returns the patch in transition.
pub fn in_transition(world: &World) -> Option<PatchId> {
    let mut patches = world.core.patches().iter().map(|patch| patch.handle);
    patches.find(|&patch| world.core.is_in_transition(patch))
}
