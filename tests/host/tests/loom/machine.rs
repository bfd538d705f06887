// SPDX-License-Identifier: GPL-2.0

//! A kernel over loom, just large enough for the core. It has one function that patches replace,
//! one module that is not loaded, and tasks that each run on a CPU of their own.
//!
//! Everything that the core takes from the kernel is modelled as weakly as the bridge
//! (`core/linux`) provides it:
//!
//! | in the kernel | in this model |
//! |---|---|
//! | a task's state | relaxed loads and stores |
//! | the pending flag: test, set, clear | relaxed; set and clear are read-modify-write |
//! | test-and-clear of the flag, exchange of the stack check | a full barrier before and after |
//! | preemption off | a mutex per CPU; [`Scheduler::synchronize`] takes that of each other CPU |
//! | `tasklist_lock`, the locks that `task_call_func()` takes | mutexes |
//! | the task list, read without the lock | its length: release, acquire |
//! | preemption during a fork, where it is on | the task does not run again while its pin is held |
//! | ftrace calls the handler, which finds the hook or does not | a flag: release, acquire |
//! | the handler's loads of a site, in C | those of [`Site::view`], in the same order |
//! | the scheduler's static key | always on |
//! | the branch of the settled gear | CPUs see a change one by one; `unsettle` waits for all |
//!
//! The flag's acquire stands for the dependency of the site's word on the pointer to the hook. It
//! orders no more than that does: the word is loaded next, and with acquire.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::weaken::is_weakened;
use livepatch_core::dispatch::{Refusal, Tracer};
use livepatch_core::patch::{Callbacks, Function, Modules, Object, Patch, Structures};
use livepatch_core::settle::Settle;
use livepatch_core::site::{Site, Target, View};
use livepatch_core::stack::{Check, Checks, StackCheck};
use livepatch_core::symbol::{Name, Symbols};
use livepatch_core::sysfs::Directories;
use livepatch_core::task::{Shared, State, Task, Tasks, Unreliable};
use livepatch_core::transition::{
    moved, switch_if_pending, Busy, Clock, DebugMessage, Early, Identify, Log, Scheduler, Stuck,
    Trace, Way, Words,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::panic::Location;
use std::rc::Rc;

/// The address of the function.
pub const FUNCTION: usize = 0x1000;

/// The size of each function in bytes.
const SIZE: usize = 0x100;

/// Returns the address of the replacement in the `patch`-th patch.
pub const fn replacement(patch: usize) -> usize {
    FUNCTION * (patch + 2)
}

/// Runs `operation` with a full barrier on either side, unless this run weakens it.
fn fully_ordered<T>(place: &Location<'_>, operation: impl FnOnce(Ordering) -> T) -> T {
    if is_weakened(place, "full barrier") {
        return operation(Ordering::Relaxed);
    }
    fence(Ordering::SeqCst);
    let result = operation(Ordering::AcqRel);
    fence(Ordering::SeqCst);
    result
}

/// Returns the caller's location. It names a barrier that has one place in the bridge, whichever
/// part of the core calls it.
#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

/// A task.
pub struct LoomTask {
    state: Atomic<i32>,
    pending: AtomicBool,
    /// Taken to change `running`, and to look at the task from another CPU.
    pin: Mutex<()>,
    /// Protected by `pin`.
    running: Cell<bool>,
    /// Addresses in the functions that the task is in. Accessed by the task itself, or under `pin`.
    stack: RefCell<Vec<usize>>,
}

impl LoomTask {
    fn new() -> Self {
        let task = Self {
            state: Atomic::new(State::Idle.to_raw()),
            pending: AtomicBool::new(false),
            pin: Mutex::new(()),
            running: Cell::new(false),
            stack: RefCell::default(),
        };
        // The first access creates loom's atomic.
        task.set_state(State::Idle);
        task
    }
}

/// Evidence that preemption is off. The section of the CPU turns it off.
pub struct PreemptionOff(());

/// Evidence of a wait.
pub struct Quiesced(());

impl Task for LoomTask {
    type PreemptionOff = PreemptionOff;

    fn state(&self) -> State {
        State::from_raw(self.state.load(Relaxed))
    }

    fn set_state(&self, state: State) {
        self.state.store(state.to_raw(), Relaxed);
    }

    fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    fn set_pending(&self) {
        self.pending.swap(true, Ordering::Relaxed);
    }

    fn clear_pending(&self) {
        self.pending.swap(false, Ordering::Relaxed);
    }

    fn test_and_clear_pending(&self) -> bool {
        fully_ordered(here(), |ordering| self.pending.swap(false, ordering))
    }
}

/// A task in a fork. It holds `tasklist_lock`, which does not keep it from being preempted.
struct Forking<'a> {
    task: &'a LoomTask,
    /// The CPU of the parent, which runs. `None` for the child, which does not run yet.
    cpu: Option<&'a Cpu>,
}

impl Forking<'_> {
    /// Returns the task, which may be preempted just before.
    fn task(&self) -> &LoomTask {
        if let Some(cpu) = self.cpu {
            cpu.preempt();
        }
        self.task
    }
}

impl Task for Forking<'_> {
    type PreemptionOff = PreemptionOff;

    fn state(&self) -> State {
        self.task().state()
    }

    fn set_state(&self, state: State) {
        self.task().set_state(state);
    }

    fn is_pending(&self) -> bool {
        self.task().is_pending()
    }

    fn set_pending(&self) {
        self.task().set_pending();
    }

    fn clear_pending(&self) {
        self.task().clear_pending();
    }

    fn test_and_clear_pending(&self) -> bool {
        self.task().test_and_clear_pending()
    }
}

/// The machine.
struct Machine {
    shared: Shared,
    /// `tasklist_lock`.
    lock: Mutex<()>,
    /// Changed under `lock`.
    tasks: RefCell<Vec<Rc<LoomTask>>>,
    /// The number of tasks, for readers that do not hold `lock`.
    listed: AtomicUsize,
    /// One per CPU, held while preemption is off there.
    sections: Vec<Mutex<()>>,
    site: RefCell<Option<Rc<Site>>>,
    /// Whether calls go through the handler of `site`.
    hooked: AtomicBool,
    /// Whether calls may bypass the handler.
    settles: Cell<bool>,
    /// The address that calls on each CPU branch to without the handler, or 0. Protected by the
    /// CPU's section.
    branches: Vec<Cell<usize>>,
    /// Whether a stack check is published.
    visible: AtomicBool,
    /// Stands for the contents of the stack check. loom reports a read that races with a change.
    contents: UnsafeCell<()>,
    /// The stack check, until it is reclaimed.
    check: RefCell<Option<Rc<Check>>>,
    retry: Cell<bool>,
    /// Whether that retry is to come at once.
    hurry: Cell<bool>,
}

/// The machine as seen from one CPU, and the task that runs there.
#[derive(Clone)]
pub struct Cpu {
    machine: Rc<Machine>,
    number: usize,
    current: Rc<LoomTask>,
}

impl Cpu {
    /// Creates a machine with `cpus` CPUs, each of which runs a task. The first CPU is the
    /// administrator's; its task takes no part in transitions.
    pub fn machine(cpus: usize) -> Vec<Self> {
        let shared = Shared::new();
        // The first access creates loom's atomic.
        assert_eq!(shared.target(), State::Idle);
        let tasks: Vec<_> = (0..cpus).map(|_| Rc::new(LoomTask::new())).collect();
        let machine = Rc::new(Machine {
            shared,
            lock: Mutex::new(()),
            tasks: RefCell::new(tasks.iter().skip(1).cloned().collect()),
            listed: AtomicUsize::new(cpus - 1),
            sections: (0..cpus).map(|_| Mutex::new(())).collect(),
            site: RefCell::default(),
            hooked: AtomicBool::new(false),
            settles: Cell::new(false),
            branches: (0..cpus).map(|_| Cell::new(0)).collect(),
            visible: AtomicBool::new(false),
            contents: UnsafeCell::new(()),
            check: RefCell::default(),
            retry: Cell::new(false),
            hurry: Cell::new(false),
        });
        let cpu = |(number, current): (usize, Rc<LoomTask>)| {
            current.running.set(true);
            Self {
                machine: machine.clone(),
                number,
                current,
            }
        };
        let cpus: Vec<_> = tasks.into_iter().enumerate().map(cpu).collect();
        // The first access creates loom's atomics.
        if let Some(cpu) = cpus.first() {
            for way in Way::ALL {
                moved(cpu, &*cpu.current, way);
            }
            let (parent, child) = (LoomTask::new(), LoomTask::new());
            parent.set_pending();
            cpu.shared().copy(&parent, &child, &PreemptionOff(()));
        }
        cpus
    }

    /// Turns preemption off until the guard is dropped. Where this run weakens the place, there is
    /// no guard and the evidence is false.
    #[track_caller]
    fn section(&self) -> (Option<MutexGuard<'_, ()>>, PreemptionOff) {
        let weakened = is_weakened(Location::caller(), "preemption off");
        let section = || self.machine.sections[self.number].lock().unwrap();
        ((!weakened).then(section), PreemptionOff(()))
    }

    /// Returns the state of the current task, as the task itself reads it.
    pub fn state(&self) -> State {
        self.current.state()
    }

    /// Calls the function in the current task. Returns the address that the call reaches.
    pub fn call(&self) -> usize {
        let _section = self.section();
        let branch = self.machine.branches[self.number].get();
        if branch != 0 {
            return branch;
        }
        if !self.machine.hooked.load(Ordering::Acquire) {
            return FUNCTION;
        }
        let site = self.machine.site.borrow().clone();
        let site = site.expect("the hook is gone, and a handler uses it");
        let target = site.choose(|| {
            let state = self.current.state();
            assert_ne!(state, State::Idle, "a transition, and a task without state");
            state
        });
        match target {
            Target::Original => FUNCTION,
            Target::Replacement(address) => address,
        }
    }

    /// Calls the function in the current task, and runs `inside` while the task is in it.
    pub fn call_and(&self, inside: impl FnOnce()) -> usize {
        let address = self.call();
        self.current.stack.borrow_mut().push(address + 0x20);
        inside();
        self.current.stack.borrow_mut().pop();
        address
    }

    /// Takes the current task through the way out to user mode. Returns its state there: if it has
    /// moved, the transition can't end before that.
    pub fn leave_kernel(&self) -> State {
        let (_section, off) = self.section();
        if self.shared().update(&*self.current, &off) {
            moved(self, &*self.current, Way::Exit);
        }
        self.state()
    }

    /// Runs the scheduler's part for the current task, which is about to be switched away from.
    /// Returns its state there, as [`Self::leave_kernel`] does.
    pub fn schedule(&self) -> State {
        let (_section, off) = self.section();
        switch_if_pending(self, &*self.current, &off, Way::Scheduler);
        self.state()
    }

    /// Puts the current task to sleep, and wakes it up.
    pub fn sleep(&self) {
        self.schedule();
        self.leave_cpu();
    }

    /// Looks at the current task of `at` from this CPU. The core may have asked for it just now,
    /// long ago, or never.
    pub fn look(&self, at: &Self) {
        let (_section, off) = self.section();
        switch_if_pending(self, &*at.current, &off, Way::Stopper);
    }

    /// Preempts the current task where preemption is on, and gives it the CPU back. The scheduler
    /// does not try to move a task that stays runnable.
    pub fn preempt(&self) {
        let section = self.machine.sections[self.number].try_lock();
        if section.is_ok() {
            drop(section);
            self.leave_cpu();
        }
    }

    /// Takes the current task off its CPU for a while.
    fn leave_cpu(&self) {
        for running in [false, true] {
            let _pin = self.current.pin.lock().unwrap();
            self.current.running.set(running);
        }
    }

    /// Forks a child of the current task. The child does not run.
    pub fn fork(&self) {
        let _lock = self.machine.lock.lock().unwrap();
        let child = LoomTask::new();
        // The copy of the parent's structure leaves this flag behind.
        child.set_pending();
        let [parent, copy] =
            [(&*self.current, Some(self)), (&child, None)].map(|(task, cpu)| Forking { task, cpu });
        let (section, off) = self.section();
        self.shared().copy(&parent, &copy, &off);
        drop(section);
        self.machine.tasks.borrow_mut().push(Rc::new(child));
        let listed = self.machine.tasks.borrow().len();
        self.machine.listed.store(listed, Ordering::Release);
    }

    /// Ends the current task, which does not move any more.
    pub fn exit(&self) {
        let _lock = self.machine.lock.lock().unwrap();
        let mut tasks = self.machine.tasks.borrow_mut();
        tasks.retain(|task| !Rc::ptr_eq(task, &self.current));
        self.machine.listed.store(tasks.len(), Ordering::Release);
    }

    /// Returns all tasks.
    pub fn tasks(&self) -> Vec<Rc<LoomTask>> {
        let _lock = self.machine.lock.lock().unwrap();
        self.machine.tasks.borrow().clone()
    }

    /// Whether the core has asked for a retry since the last call.
    pub fn take_retry(&self) -> bool {
        self.machine.hurry.set(false);
        self.machine.retry.take()
    }

    /// Whether the retry that the core has asked for is to come at once.
    pub fn is_in_a_hurry(&self) -> bool {
        self.machine.hurry.get()
    }

    /// Lets one CPU after the other see the changed instruction.
    fn branch_to(&self, address: usize) {
        for (branch, section) in self.machine.branches.iter().zip(&self.machine.sections) {
            let _interrupted = section.lock().unwrap();
            branch.set(address);
        }
    }

    /// Waits until preemption has been on at least once on every other CPU.
    fn wait_for_all(&self) {
        for (number, section) in self.machine.sections.iter().enumerate() {
            if number != self.number {
                drop(section.lock().unwrap());
            }
        }
    }
}

impl Tasks for Cpu {
    type Task = LoomTask;
    type Pinned = LoomTask;

    fn shared(&self) -> &Shared {
        &self.machine.shared
    }

    /// The core calls this on the administrator's CPU, which nobody waits for.
    fn preemption_off(&self) -> PreemptionOff {
        PreemptionOff(())
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&LoomTask)) {
        let _lock = self.machine.lock.lock().unwrap();
        let tasks = self.machine.tasks.borrow().clone();
        tasks.iter().for_each(|task| each(task));
    }

    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&LoomTask)) {
        let listed = self.machine.listed.load(Ordering::Acquire);
        let tasks = self.machine.tasks.borrow().clone();
        tasks.iter().take(listed).for_each(|task| each(task));
    }

    fn for_each_idle(&self, _each: &mut dyn FnMut(&LoomTask)) {}

    fn for_each_cpu(&self, _each: &mut dyn FnMut(&LoomTask, u32, bool)) {}

    fn has_reliable_stacks(&self) -> bool {
        true
    }

    fn pin(&self, task: &LoomTask, job: &mut dyn FnMut(&LoomTask)) {
        if std::ptr::eq(task, &*self.current) {
            return job(task);
        }
        let _pin = task.pin.lock().unwrap();
        job(task);
    }

    fn runs_elsewhere(&self, task: &LoomTask) -> bool {
        !std::ptr::eq(task, &*self.current) && task.running.get()
    }

    fn stack(&self, task: &LoomTask, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable> {
        let stack = task.stack.borrow().clone();
        job(&stack);
        Ok(())
    }

    fn signal(&self, _task: &LoomTask) {}
}

impl Scheduler for Cpu {
    type Quiesced = Quiesced;

    #[track_caller]
    fn synchronize(&self) -> Quiesced {
        if !is_weakened(Location::caller(), "synchronize") {
            self.wait_for_all();
        }
        Quiesced(())
    }

    fn switch_in_scheduler(&self, _on: bool) {}

    fn wake_idle(&self, _cpu: u32) {}
}

impl Words for Cpu {}

impl Identify for Cpu {}

/// Nothing is taken off its CPU: [`Cpu::look`] comes at any time.
impl Busy for Cpu {}

impl Early for Cpu {
    const EARLY: bool = true;

    type Instant = ();

    fn now(&self) {}

    fn elapsed(&self, (): &()) -> u64 {
        0
    }

    fn retry_now(&self) {
        self.machine.hurry.set(true);
    }
}

impl Trace for Cpu {
    const COUNTS: bool = true;
}

impl Clock for Cpu {
    fn retry_later(&self, _delay: u64) {
        self.machine.retry.set(true);
    }
}

impl Checks for Cpu {
    /// Stands for the check, which stays where it is until it is reclaimed.
    type Retired = ();

    /// The bridge's exchange is a full barrier. The core needs the release in it.
    fn publish_check(&self, check: Option<Check>) -> Option<()> {
        let visible = check.is_some();
        if let Some(check) = check {
            // The new check is filled by now. loom reports a read that may still be going on.
            self.machine.contents.with_mut(|_| ());
            let old = self.machine.check.replace(Some(Rc::new(check)));
            assert!(old.is_none(), "a stack check was lost");
        }
        let was_visible = fully_ordered(here(), |ordering| {
            self.machine.visible.swap(visible, ordering)
        });
        was_visible.then_some(())
    }

    fn reclaim_check(&self, (): (), _quiesced: &Quiesced) -> Option<Check> {
        self.machine.contents.with_mut(|_| ());
        let check = self.machine.check.take().expect("it was published");
        Some(Rc::into_inner(check).expect("a stack check in use was reclaimed"))
    }

    fn with_check(&self, _off: &PreemptionOff, job: &mut dyn FnMut(Option<&StackCheck>)) {
        let ordering = match is_weakened(here(), "acquire") {
            true => Ordering::Relaxed,
            false => Ordering::Acquire,
        };
        if !self.machine.visible.load(ordering) {
            return job(None);
        }
        // The check is in use until the job has ended, even if it is taken back meanwhile.
        self.machine.contents.with(|_| {
            let check = self.machine.check.borrow().clone();
            job(Some(&check.expect(
                "the stack check is gone, and a task is moved by it",
            )));
        });
    }
}

impl Log for Cpu {
    /// Reads the name of the function, which is in the stack check.
    fn debug(&self, message: DebugMessage<'_, LoomTask>) {
        if let DebugMessage::Stuck(_, Stuck::Inside(name, _)) = message {
            assert_eq!(name.to_string(), "function");
        }
    }
}

/// The hook of the one function.
pub struct Hook {
    site: Rc<Site>,
    machine: Rc<Machine>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        let mut current = self.machine.site.borrow_mut();
        if current
            .as_ref()
            .is_some_and(|site| Rc::ptr_eq(site, &self.site))
        {
            *current = None;
        }
    }
}

impl Tracer for Cpu {
    type Hook = Hook;

    const CALL_SIZE: usize = 8;

    fn is_dead(&self) -> bool {
        false
    }

    fn location(&self, function: usize) -> Option<usize> {
        Some(function)
    }

    fn new_hook(&self, _location: usize, site: Site) -> Result<Hook> {
        // This access creates loom's atomics.
        site.view();
        Ok(Hook {
            site: Rc::new(site),
            machine: self.machine.clone(),
        })
    }

    fn site<'a>(&self, hook: &'a Hook) -> &'a Site {
        &hook.site
    }

    fn attach(&self, hooks: &[&Hook]) -> Result<(), Refusal> {
        let [hook] = hooks else {
            panic!("there is one function");
        };
        *self.machine.site.borrow_mut() = Some(hook.site.clone());
        self.machine.hooked.store(true, Ordering::Release);
        Ok(())
    }

    fn detach(&self, _hooks: &mut dyn Iterator<Item = &Hook>) {
        self.machine.hooked.store(false, Ordering::Relaxed);
    }

    fn free(&self, hook: Hook, _quiesced: &Quiesced) {
        drop(hook);
    }
}

impl Settle for Cpu {
    const SETTLES: bool = true;

    fn set_settles(&self, hook: &Hook, settles: bool) {
        hook.machine.settles.set(settles);
    }

    fn settle(&self) {
        let site = self.machine.site.borrow().clone();
        if let Some(site) = site.filter(|_| self.machine.settles.get()) {
            if let View::Settled(Target::Replacement(address)) = site.view() {
                self.branch_to(address);
            }
        }
    }

    #[track_caller]
    fn unsettle(&self) -> Result {
        let leaves = self.machine.site.borrow().is_some() && !self.machine.settles.get();
        if leaves && !is_weakened(here(), "wait for branches") {
            self.branch_to(0);
        }
        Ok(())
    }
}

impl Symbols for Cpu {
    const PAGE_SIZE: usize = 4096;

    fn each_match(&self, _name: &Name, found: &mut dyn FnMut(usize) -> ControlFlow<()>) {
        let _ = found(FUNCTION);
    }

    fn each_symbol(&self, _object: &Name, found: &mut dyn FnMut(&[u8], usize) -> ControlFlow<()>) {
        let _ = found(b"function", FUNCTION);
    }

    fn size_at(&self, _address: usize) -> Option<usize> {
        Some(SIZE)
    }
}

/// Structures, callbacks, modules and sysfs. The core's lock protects all of them, so this model
/// leaves them out.
impl Structures for Cpu {
    type Patch = usize;
    type PatchId = usize;
    type Object = usize;
    type Function = usize;
    type FunctionId = usize;
    type Module = usize;

    fn patch_id(patch: &usize) -> usize {
        *patch
    }
    fn function_id(function: &usize) -> usize {
        *function
    }
    fn prepare(&self, _patch: &Patch<Self>) {}
    fn new_object(&self, patch: &usize, _name: Option<&Name>) -> Result<usize> {
        Ok(*patch)
    }
    fn new_nop(&self, _object: &usize, _name: &Name, _position: usize) -> Result<usize> {
        Ok(usize::MAX)
    }
    fn release_function(&self, _function: usize) {}
    fn release_object(&self, _object: usize) {}
    fn list(&self, _patch: &usize, _listed: bool) {}
    fn free_later(&self, _patch: usize, _forced: bool) {}
    fn mirror_patch(&self, _patch: &usize, _enabled: bool, _forced: bool) {}
    fn mirror_object(&self, _object: &usize, _module: Option<usize>, _patched: bool) {}
    fn mirror_function(&self, _function: &Function<Self>) {}
    fn mirror_transition(&self, _patch: Option<&usize>) {}
}

impl Callbacks for Cpu {
    fn pre_patch(&self, _object: &usize) -> Result {
        Ok(())
    }
    fn post_patch(&self, _object: &usize) {}
    fn pre_unpatch(&self, _object: &usize) {}
    fn post_unpatch(&self, _object: &usize) {}
}

impl Modules for Cpu {
    fn find_module(&self, _name: &Name) -> Option<usize> {
        None
    }
    fn relocate(&self, _patch: &usize, _object: &Name, _apply: bool) -> Result {
        Ok(())
    }
}

impl Directories for Cpu {
    fn publish_patch(&self, _patch: &Patch<Self>) -> Result {
        Ok(())
    }
    fn publish_object(&self, _: &usize, _: &usize, _: Option<&Name>) -> Result {
        Ok(())
    }
    fn publish_function(&self, _: &usize, _: &usize, _: &Name, _: usize) -> Result {
        Ok(())
    }
}

/// What a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The function.
    Function,
    /// Nothing; it replaces all patches before it.
    Nothing,
    /// A module that is not loaded.
    Module,
}

/// Creates the patch with this number.
pub fn patch(number: usize, about: About) -> Result<Patch<Cpu>> {
    let replace = about == About::Nothing;
    let mut patch = Patch::new(number, Name::new(b"patch")?, replace, KVec::new());
    let name = match about {
        About::Module => Some(Name::new(b"module")?),
        About::Function | About::Nothing => None,
    };
    let mut object = Object::new(number, name);
    if about != About::Nothing {
        let function = Function::new(number, Name::new(b"function")?, 0, replacement(number));
        object.functions.push(function, GFP_KERNEL)?;
    }
    patch.objects.push(object, GFP_KERNEL)?;
    Ok(patch)
}
