// SPDX-License-Identifier: GPL-2.0

//! Transition: moving every task from one version of the patched functions to the other.
//!
//! A task moves where none of the functions that change is on its stack, or as it leaves the kernel,
//! or in the idle loop. Until then its state says which version its calls get.
//!
//! C counterpart: `kernel/livepatch/transition.c`.
//!
//! # Who writes what
//!
//! | what | written by | read by |
//! |---|---|---|
//! | [`Shared::target`] | the holder of the core's lock | whoever moves a task |
//! | a task's pending flag | set under the lock; cleared by whoever moves the task | the task itself |
//! | a task's state | under the lock while its flag is clear; by the task itself, or on its behalf while it can't run | the task's calls, through the handler |
//! | [`Site`](super::site::Site) | the holder of the lock | the handler |
//!
//! # Memory ordering
//!
//! 1. *State before transition.* [`Core::begin`] gives each task its state, then a write barrier, then
//!    the sites show the transition, those of functions that are patched for the first time included.
//!    The handler loads the site with acquire, and then the state. So a call that sees a transition
//!    sees a state.
//! 2. *Target before pending.* The same barrier puts the target before the pending flags that
//!    [`Core::start`] sets. Who finds a flag set (test-and-clear is a full barrier; the scheduler's
//!    path has a read barrier) then reads the new target, even where the patch changes no site because
//!    its module is not loaded.
//! 3. *Transition before pending.* A task may move right after its flag is set and make its next call
//!    at once. [`Site::publish`](super::site::Site::publish), which is also what ends the attaching
//!    of new hooks, puts the change before whatever follows it, such as the flags; the task's
//!    test-and-clear puts its move before the handler's search for the site and its read of it. A call
//!    that comes before may or may not find the hook: without, the original goes on, which is what the
//!    task is to get then.
//! 4. *End.* Before the states become idle again, [`Tasks::synchronize`] waits until no CPU is in a
//!    handler that still saw the transition. The same wait makes it safe to drop the hooks of functions
//!    that were detached. A task that left a handler, and was preempted in the tracer's trampoline
//!    before it got to the function that was chosen, is not waited for: it counts as inside that
//!    function (`stack.rs`), so that it has not moved, and the transition has not come to its end. A
//!    transition that was forced ends all the same; the patch then stays in memory for ever.
//!
//! # Tasks that are always running
//!
//! An attempt can't look at the stack of a task that is running on another CPU. One that never sleeps
//! and never leaves the kernel would be found so each time. So the attempt takes it off its CPU
//! ([`Tasks::take_off_cpu`]): the stopper of that CPU, which nothing can hold up but a lack of
//! preemption points, runs and calls [`switch_if_pending`] for the task, which is queued and not
//! running then. The attempt does not wait for that: the next preemption point may be far off.
//!
//! So that call comes at any time: in the same transition, after it was turned round, when it is over,
//! in another one, or when the task has exited. It is on another CPU than the task may be by then, and
//! without the core's lock. That is safe for the reasons for which the scheduler's own call is:
//!
//! - *The flag says whether there is anything to do.* It is clear before a transition starts, where
//!   the sites may not show it yet; once the task has moved; while the target changes; and afterwards.
//!   Point 2 puts the flag before the target. After an exit nobody reads what the task gets.
//! - *Preemption is off from before the flag is read until the task has moved.* Whoever turns the
//!   transition round, or ends it, waits in [`Tasks::synchronize`] for those that have seen the flag.
//!   So the target that was read is still the target, and the stack check is still there.
//! - *Only one moves the task.* An attempt and a late call pin it, one after the other, and either does
//!   the same to it; the task does not move itself meanwhile, since it does not run.
//! - *The task sees the move before its next call*, since it has to be let go before it can run, on
//!   whichever CPU; point 3 holds for that call because the flag was read before.
//!
//! No lock of the core is needed for that, and none could be had: its holder may be waiting for this
//! very CPU.

use super::{
    dispatch::entry,
    patch::{
        Object,
        Patch,
        Which, //
    },
    registry::Core,
    stack::StackCheck,
    symbol::Name,
    Kernel,
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Read,
            Write, //
        },
    }, //
};

/// A second. Times are in milliseconds.
const SECOND: u64 = 1000;

/// Time between two rounds of signals to the tasks that are left.
const SIGNALS_TIMEOUT: u64 = 15 * SECOND;

/// How long to wait after an attempt that took `took`, if `waited` has been waited before it since the
/// transition started or was reversed.
///
/// Nearly all tasks that don't move in the first attempt were merely running, and move by themselves
/// within milliseconds: then the next attempt is all that is missing. So the first ones come soon, each
/// after twice as long as the one before, and when a second has passed there is one each second.
///
/// That makes six attempts more than one a second would. An attempt takes some microseconds for each
/// task and lets others run meanwhile. Where there are so many tasks that the attempts before the
/// first second has passed would take more than a tenth of a CPU, they come later, or not at all.
fn next_delay(waited: u64, took: u64) -> u64 {
    let soon = waited.saturating_add(10).max(took.saturating_mul(10));
    soon.min(SECOND.saturating_sub(waited % SECOND))
}

/// Which version of the changing functions a task uses (`task->patch_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum State {
    /// No transition.
    Idle = -1,
    /// What was there before the patch.
    Unpatched = 0,
    /// The patch's.
    Patched = 1,
}

impl State {
    /// The value in `task->patch_state`.
    pub const fn to_raw(self) -> i32 {
        self as i32
    }

    /// The state for a value of `task->patch_state`; any other than the known ones is idle.
    pub const fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::Unpatched,
            1 => Self::Patched,
            _ => Self::Idle,
        }
    }

    /// The other end of a transition.
    const fn opposite(self) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::Unpatched => Self::Patched,
            Self::Patched => Self::Unpatched,
        }
    }

    /// A transition to this state, as messages call it.
    const fn verb(self) -> &'static str {
        match self {
            Self::Patched => "patching",
            Self::Unpatched | Self::Idle => "unpatching",
        }
    }
}

/// One task. Its methods may be used on any task that the kernel handed out for it.
pub trait Task {
    /// Evidence that preemption is off on this CPU for as long as it lives: the current task keeps
    /// the CPU, and [`Tasks::synchronize`] waits for it.
    type PreemptionOff;

    /// Its state.
    fn state(&self) -> State;
    /// Sets its state.
    fn set_state(&self, state: State);
    /// Whether its pending flag (`TIF_PATCH_PENDING`) is set.
    fn is_pending(&self) -> bool;
    /// Sets the flag: the task moves as it leaves the kernel.
    fn set_pending(&self);
    /// Clears the flag.
    fn clear_pending(&self);
    /// Clears the flag and says whether it was set; a full barrier if it was.
    fn test_and_clear_pending(&self) -> bool;
    /// Whether it never leaves the kernel: then it does not move by itself.
    fn stays_in_kernel(&self) -> bool;
}

/// Why a stack could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreliable;

/// What the core asks of the tasks, the CPUs and the scheduler.
pub trait Tasks: super::patch::Descriptors {
    /// A task.
    type Task: Task;

    /// What is shared with those who move tasks without the core's lock.
    fn shared(&self) -> &Shared;
    /// Calls `each` for every thread except the idle ones. No task comes or goes meanwhile.
    fn for_each_thread(&self, each: &mut dyn FnMut(&Self::Task));
    /// Likewise, but tasks come and go meanwhile, and `each` may take its time: those that come may be
    /// left out.
    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU.
    fn for_each_idle(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU with the CPU's number and whether it is
    /// online. No CPU comes or goes meanwhile.
    fn for_each_cpu(&self, each: &mut dyn FnMut(&Self::Task, u32, bool));
    /// Sends an idle CPU through its idle loop.
    fn wake_idle(&self, cpu: u32);
    /// Whether stacks can be trusted on this architecture.
    fn has_reliable_stacks(&self) -> bool;
    /// Runs `job`, with preemption off, while `task` stays as it is: asleep, queued or running. The
    /// current task does so by running this.
    fn pin(&self, task: &Self::Task, job: &mut dyn FnMut());
    /// Whether `task` is running, on a CPU other than this one.
    fn runs_elsewhere(&self, task: &Self::Task) -> bool;
    /// Has [`switch_if_pending`] called for `task`, which is running elsewhere, as soon as its CPU lets
    /// another run for that. Does not wait for it. The core's lock is held.
    fn take_off_cpu(&self, task: &Self::Task);
    /// Calls `job` with the words on the stack of `task`, which is pinned, if each return address of
    /// the task is among them: where it sleeps, no tracer keeps return addresses elsewhere, and no
    /// trampoline is about to call a function that is not on the stack yet. The words come in parts,
    /// with a call for each. Does nothing otherwise.
    fn words(&self, task: &Self::Task, job: &mut dyn FnMut(&[usize]));
    /// Calls `job` with the return addresses on the stack of `task`, which is the current one or is
    /// pinned.
    fn stack(&self, task: &Self::Task, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable>;
    /// Nudges a task that does not get out of the kernel by itself.
    fn signal(&self, task: &Self::Task);
    /// Waits until every CPU has scheduled: no handler is running that began before, and nobody uses
    /// a stack check that was replaced before. Unlike RCU this covers idle and user mode too.
    fn synchronize(&self);
    /// Lets the scheduler try to move the task it switches away from, or stops it.
    fn switch_in_scheduler(&self, on: bool);
    /// The time since some moment, in milliseconds.
    fn now(&self) -> u64;
    /// Calls [`Core::retry`] once, in about so many milliseconds, a second at most. Takes the place of
    /// what was asked for before.
    fn retry_later(&self, delay: u64);
    /// Replaces the stack check that everyone uses. The one returned may still be in use until the
    /// next [`Self::synchronize`].
    fn replace_stack_check(&self, check: Option<Check<Self>>) -> Option<Check<Self>>;
    /// Calls `job` with the stack check, if there is one. Preemption is off.
    fn with_stack_check(&self, job: &mut dyn FnMut(&StackCheck<Self::Function>));
    /// A line for dynamic debug.
    fn debug(&self, message: Debug<'_, Self>);
}

/// A stack check in memory of its own.
pub type Check<K> = KBox<StackCheck<<K as super::patch::Descriptors>::Function>>;

/// Why a task could not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck<F> {
    /// It is running on another CPU.
    Running,
    /// Its stack can't be trusted.
    Unreliable,
    /// It is inside this function.
    Inside(F),
    /// The stack check is being made anew.
    Unchecked,
}

/// The messages for dynamic debug, one call site each, called in C where the comment says.
pub enum Debug<'a, K: Tasks + ?Sized> {
    /// `klp_init_transition()`
    Initializing(&'a Name, State),
    /// `klp_complete_transition()`
    Completing(&'a Name, State),
    /// `klp_cancel_transition()`
    Canceling(&'a Name),
    /// `klp_reverse_transition()`, with the target that is given up.
    Reversing(&'a Name, State),
    /// `klp_try_switch_task()`
    Stuck(&'a K::Task, Stuck<K::Function>),
}

/// The text, without a newline. That of a stuck task needs the task's name, which is the bridge's.
impl<K: Tasks + ?Sized> fmt::Display for Debug<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initializing(patch, target) => f.write_fmt(fmt!(
                "'{}': initializing {} transition",
                patch,
                target.verb()
            )),
            Self::Completing(patch, target) => {
                f.write_fmt(fmt!("'{}': completing {} transition", patch, target.verb()))
            }
            Self::Canceling(patch) => f.write_fmt(fmt!(
                "'{}': canceling patching transition, going to unpatch",
                patch
            )),
            Self::Reversing(patch, from) => f.write_fmt(fmt!(
                "'{}': reversing transition from {} to {}",
                patch,
                from.verb(),
                from.opposite().verb()
            )),
            Self::Stuck(..) => Ok(()),
        }
    }
}

/// What is shared between the holder of the core's lock and those who move tasks without it: the
/// exit to user mode, the idle loop, the scheduler and fork.
pub struct Shared {
    /// Where the tasks are to go (`klp_target_state`).
    target: Atomic<i32>,
}

impl Shared {
    /// No transition.
    pub const fn new() -> Self {
        Self {
            target: Atomic::new(State::Idle.to_raw()),
        }
    }

    /// Where the tasks are to go; idle where there is no transition.
    pub fn target(&self) -> State {
        // Relaxed: ordered by the barriers that the module's documentation lists.
        State::from_raw(self.target.load(Relaxed))
    }

    fn set_target(&self, target: State) {
        self.target.store(target.to_raw(), Relaxed);
    }

    /// Moves `task`, which is the current one or can't run, if its flag is set.
    ///
    /// C counterpart: `klp_update_patch_state()`. Preemption is off, so that the target does not
    /// change between the flag and the state: [`Core::reverse`] waits for that.
    pub fn update<T: Task>(&self, task: &T, _off: &T::PreemptionOff) {
        self.update_locked(task);
    }

    /// Likewise, for the holder of the core's lock, who is the one to change the target.
    fn update_locked<T: Task>(&self, task: &T) {
        // The flag's full barrier: the target was stored before the flag was set, and the handler's
        // later read of a site comes after it.
        if task.test_and_clear_pending() {
            task.set_state(self.target());
        }
    }

    /// Gives a child that is being forked the flag and the state of its parent, the current task.
    ///
    /// C counterpart: `klp_copy_process()`. The caller holds the lock that
    /// [`Tasks::for_each_thread`] takes, so that it sees all or nothing of what the core does
    /// there.
    ///
    /// The parent can't move meanwhile: it does not move itself, since it is here, and others see
    /// that it is running, since preemption is off. The lock is not enough for that. An attempt
    /// moves tasks without it, and a parent may be preempted with the lock held where that may
    /// sleep. Its child would get the flag from before the move, and the state from after it.
    pub fn copy<T: Task>(&self, parent: &T, child: &T, _off: &T::PreemptionOff) {
        if parent.is_pending() {
            child.set_pending();
        } else {
            child.clear_pending();
        }
        child.set_state(parent.state());
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// Tries to move `task`, if its flag is set: the current one, from the scheduler; or one that was
/// [taken off its CPU](Tasks::take_off_cpu), and may be anywhere by now.
///
/// C counterpart: `__klp_sched_try_switch()`, for the current task. The core's lock can't be taken.
/// Preemption is off, so that the target stays as it is until the task has moved, see
/// [`Shared::update`].
pub fn switch_if_pending<K: Tasks + ?Sized>(
    kernel: &K,
    task: &K::Task,
    _off: &<K::Task as Task>::PreemptionOff,
) {
    if !task.is_pending() {
        return;
    }
    // The flag before the target, see the module's documentation.
    smp_mb(Read);
    try_switch(kernel, task);
}

/// Tries to move `task` by looking at its stack. Says whether it has moved, now or before.
fn try_switch<K: Tasks + ?Sized>(kernel: &K, task: &K::Task) -> bool {
    let target = kernel.shared().target();
    if task.state() == target {
        return true;
    }
    if !kernel.has_reliable_stacks() {
        return false;
    }
    let mut result = Err(Stuck::Running);
    kernel.pin(task, &mut || result = switch_if_safe(kernel, task, target));
    match result {
        Ok(()) => true,
        Err(reason) => {
            kernel.debug(Debug::Stuck(task, reason));
            false
        }
    }
}

/// Moves `task`, pinned or current, unless it is running or inside a function that changes.
fn switch_if_safe<K: Tasks + ?Sized>(
    kernel: &K,
    task: &K::Task,
    target: State,
) -> Result<(), Stuck<K::Function>> {
    if kernel.runs_elsewhere(task) {
        return Err(Stuck::Running);
    }
    if !is_plainly_outside(kernel, task, target) {
        // Without a stack check nobody can say that the task is safe.
        let mut inside = Err(Stuck::Unchecked);
        let stack = kernel.stack(task, &mut |entries| {
            kernel.with_stack_check(&mut |check| inside = Ok(check.find(target, entries)));
        });
        if stack.is_err() {
            return Err(Stuck::Unreliable);
        }
        if let Some(function) = inside? {
            return Err(Stuck::Inside(function));
        }
    }
    task.clear_pending();
    task.set_state(target);
    Ok(())
}

/// Whether no word on the stack of `task`, which is pinned, points into a function that changes.
///
/// Most sleeping tasks are that far away, and to look at each word costs a fraction of unwinding. A
/// word that does may be a return address or left over: only unwinding tells.
fn is_plainly_outside<K: Tasks + ?Sized>(kernel: &K, task: &K::Task, target: State) -> bool {
    let (mut looked, mut inside) = (false, false);
    kernel.words(task, &mut |words| {
        kernel.with_stack_check(&mut |check| {
            looked = true;
            inside |= check.points_into(target, words);
        });
    });
    looked && !inside
}

/// The transition that is going on.
pub(crate) struct Ongoing<P> {
    /// The patch that is being enabled or disabled.
    pub(crate) patch: P,
    /// How long it has waited between attempts since it started or was reversed, in milliseconds.
    waited: u64,
}

impl<K: Kernel> Core<K> {
    /// The patch in transition.
    pub(crate) fn transition_patch(&self) -> Option<&Patch<K>> {
        self.find(self.transition.as_ref()?.patch)
    }

    /// Calls `each` for every task, idle ones included.
    fn for_each_task(kernel: &K, mut each: impl FnMut(&K::Task)) {
        kernel.for_each_thread(&mut each);
        kernel.for_each_idle(&mut each);
    }

    /// Fills `check` with the ranges to look for on the stacks while `patch` is in transition.
    ///
    /// Only objects that are patched, or `about_to` be, have code that a task can be in.
    fn fill_stack_check(
        &self,
        check: &mut StackCheck<K::Function>,
        patch: &Patch<K>,
        about_to: &dyn Fn(&Object<K>) -> bool,
    ) {
        check.clear();
        for object in &patch.objects {
            if !object.patched && !about_to(object) {
                continue;
            }
            for function in &object.functions {
                let below = if function.patched {
                    self.sites.below(function.old.start, function.handle)
                } else {
                    self.sites.newest(function.old.start)
                };
                let old = below.unwrap_or(function.old);
                let entry = entry(function.old.start, function.location);
                let pushed = check.push(function.handle, entry, old, function.new);
                // Room was made for all functions when the patch was enabled.
                warn_on_once!(pushed.is_err());
            }
        }
        check.finish();
    }

    /// Puts all tasks at the end opposite to `target`, and the functions of `patch` in transition.
    ///
    /// Nothing moves before [`Self::start`]. Errors: `EINVAL` where the patch is not listed, which
    /// nobody asks for. C counterpart: `klp_init_transition()`.
    pub(crate) fn begin(&mut self, kernel: &K, handle: K::Patch, target: State) -> Result {
        kernel::warn_on!(self.transition.is_some());
        self.unsettle(kernel, handle)?;
        let check = self.find_mut(handle).and_then(|patch| patch.check.take());
        let mut check = check.ok_or(EINVAL)?;
        let patch = self.find(handle).ok_or(EINVAL)?;
        self.fill_stack_check(&mut check, patch, &|object| {
            target == State::Patched && object.is_loaded()
        });
        kernel.debug(Debug::Initializing(&patch.name, target));
        let none = kernel.replace_stack_check(Some(check));
        kernel::warn_on!(none.is_some());

        self.transition = Some(Ongoing {
            patch: handle,
            waited: 0,
        });
        kernel.mirror_transition(Some(handle));
        kernel.shared().set_target(target);
        Self::for_each_task(kernel, |task| {
            warn_on_once!(task.state() != State::Idle);
            task.set_state(target.opposite());
        });
        // States before the transition, target before the pending flags: points 1 and 2 of the
        // module's documentation.
        smp_mb(Write);
        self.set_transition(kernel, handle, true);
        Ok(())
    }

    fn set_transition(&mut self, kernel: &K, handle: K::Patch, transition: bool) {
        let Self { patches, sites, .. } = self;
        if let Some(patch) = patches.iter_mut().find(|patch| patch.handle == handle) {
            patch.set_transition(kernel, sites, transition);
        }
    }

    /// Lets the tasks move. C counterpart: `klp_start_transition()`.
    pub(crate) fn start(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        warn_on_once!(target == State::Idle);
        if let Some(patch) = self.transition_patch() {
            pr_notice!("'{}': starting {} transition\n", patch.name, target.verb());
        }
        Self::for_each_task(kernel, |task| {
            if task.state() != target {
                task.set_pending();
            }
        });
        kernel.switch_in_scheduler(true);
        if let Some(transition) = self.transition.as_mut() {
            transition.waited = 0;
        }
    }

    /// Tries to move all tasks that are left, and ends the transition if none is.
    ///
    /// C counterpart: `klp_try_complete_transition()`.
    pub(crate) fn try_complete(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        warn_on_once!(target == State::Idle);
        let start = kernel.now();
        let first = matches!(&self.transition, Some(transition) if transition.waited == 0);
        let mut complete = true;
        // Without the lock that forks wait for: to look at thousands of stacks takes long.
        kernel.for_each_thread_unlocked(&mut |task| {
            if !try_switch(kernel, task) {
                complete = false;
                Self::take_off_cpu(kernel, task, first);
            }
        });
        if complete {
            // Children that were left out have the state that their parents had. From here on, every
            // child's is the target.
            kernel.for_each_thread(&mut |task| complete &= try_switch(kernel, task));
        }
        kernel.for_each_cpu(&mut |task, cpu, online| {
            if online {
                if !try_switch(kernel, task) {
                    complete = false;
                    kernel.wake_idle(cpu);
                }
            } else if task.state() != target {
                // The idle task of a CPU that is off is in no function.
                task.clear_pending();
                task.set_state(target);
            }
        });

        if complete {
            kernel.switch_in_scheduler(false);
            self.complete_and_free(kernel);
            return;
        }
        if let Some(transition) = &self.transition {
            if transition.waited > 0 && transition.waited % SIGNALS_TIMEOUT == 0 {
                Self::signal(kernel, transition.waited == SIGNALS_TIMEOUT);
            }
        }
        self.retry_later(kernel, kernel.now().saturating_sub(start));
    }

    /// Takes `task`, which could not move, off its CPU if it is running, so that it can.
    ///
    /// Nearly all that run are on their way to user mode, or in it, and move by themselves before the
    /// next attempt: in the first one they are left alone.
    fn take_off_cpu(kernel: &K, task: &K::Task, first: bool) {
        let hopeless = !kernel.has_reliable_stacks();
        let patient = first && !task.stays_in_kernel();
        if !hopeless && !patient && kernel.runs_elsewhere(task) {
            kernel.take_off_cpu(task);
        }
    }

    /// Asks for the next attempt, after one that took `took`.
    fn retry_later(&mut self, kernel: &K, took: u64) {
        if let Some(transition) = self.transition.as_mut() {
            let delay = next_delay(transition.waited, took);
            transition.waited = transition.waited.saturating_add(delay);
            kernel.retry_later(delay);
        }
    }

    /// What [`Tasks::retry_later`] asks for.
    pub fn retry(&mut self, kernel: &K) {
        if self.transition.is_some() {
            self.try_complete(kernel);
        }
    }

    /// Nudges the tasks that are left. C counterpart: `klp_send_signals()`.
    fn signal(kernel: &K, first: bool) {
        if first {
            pr_notice!("signaling remaining tasks\n");
        }
        kernel.for_each_thread(&mut |task| {
            // The task may be moving right now; a signal too many does no harm.
            if task.is_pending() {
                kernel.signal(task);
            }
        });
    }

    /// Ends the transition and gives up the patches that it made superfluous.
    fn complete_and_free(&mut self, kernel: &K) {
        let Some(transition) = &self.transition else {
            return;
        };
        let handle = transition.patch;
        self.complete(kernel);
        match self.find(handle) {
            Some(patch) if !patch.enabled => self.free(kernel, handle),
            Some(patch) if patch.replace => self.free_replaced(kernel, handle),
            _ => {}
        }
    }

    /// Ends the transition: all tasks are where they were to go.
    ///
    /// C counterpart: `klp_complete_transition()`.
    fn complete(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        let Some(transition) = &self.transition else {
            return;
        };
        let handle = transition.patch;
        let Some(patch) = self.find(handle) else {
            return;
        };
        kernel.debug(Debug::Completing(&patch.name, target));

        let replaces = patch.replace && target == State::Patched;
        if replaces {
            self.unpatch_replaced(kernel, handle);
            self.unpatch_nops(kernel, handle);
        }
        // In use until the synchronization below.
        let check = kernel.replace_stack_check(None);
        if target == State::Unpatched {
            let Self { patches, sites, .. } = self;
            if let Some(patch) = patches.iter_mut().find(|patch| patch.handle == handle) {
                patch.unpatch(kernel, sites, Which::All);
            }
        }
        self.set_transition(kernel, handle, false);
        self.sites.detach(kernel);
        // Every handler sees the end of the transition before the states become idle, and those of
        // functions that were detached have finished.
        kernel.synchronize();
        self.sites.reap();
        if let Some(patch) = self.find_mut(handle) {
            patch.check = check;
        }
        if replaces {
            // Whoever found a nop with the stack check that is gone now has finished with it.
            self.release_nops(kernel, handle);
        }

        Self::for_each_task(kernel, |task| {
            warn_on_once!(task.is_pending());
            task.set_state(State::Idle);
        });
        // Before anyone can see that the transition is over.
        self.settle(kernel);
        self.finish(kernel, handle, target);
    }

    /// The last part of [`Self::complete`]: callbacks, the message, and no transition any more.
    fn finish(&mut self, kernel: &K, handle: K::Patch, target: State) {
        if let Some(patch) = self.find_mut(handle) {
            for object in patch.objects.iter_mut() {
                if !object.is_loaded() {
                    continue;
                }
                match target {
                    State::Patched => kernel.post_patch(object.handle),
                    State::Unpatched => object.post_unpatch(kernel),
                    State::Idle => {}
                }
            }
            pr_notice!("'{}': {} complete\n", patch.name, target.verb());
        }
        kernel.shared().set_target(State::Idle);
        self.transition = None;
        kernel.mirror_transition(None);
    }

    /// Gives up a transition that has begun and not started. C counterpart:
    /// `klp_cancel_transition()`.
    pub(crate) fn cancel(&mut self, kernel: &K) {
        if warn_on_once!(kernel.shared().target() != State::Patched) {
            return;
        }
        if let Some(patch) = self.transition_patch() {
            kernel.debug(Debug::Canceling(&patch.name));
        }
        kernel.shared().set_target(State::Unpatched);
        self.complete(kernel);
    }

    /// Turns the transition round. C counterpart: `klp_reverse_transition()`.
    pub(crate) fn reverse(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        if let Some(patch) = self.transition_patch() {
            kernel.debug(Debug::Reversing(&patch.name, target));
        }
        // Nobody may move while the target changes, or a task would end where it must not be.
        Self::for_each_task(kernel, |task| task.clear_pending());
        kernel.synchronize();

        let handle = self.transition.as_ref().map(|transition| transition.patch);
        if let Some(patch) = handle.and_then(|handle| self.find_mut(handle)) {
            let enabled = !patch.enabled;
            patch.set_enabled(kernel, enabled);
        }
        kernel.shared().set_target(target.opposite());
        // The target before the pending flags.
        smp_mb(Write);
        self.start(kernel);
        // Most tasks are there already.
        self.retry_later(kernel, 0);
    }

    /// Moves all tasks at once, wherever they are. C counterpart: `klp_force_transition()`.
    pub(crate) fn force(&mut self, kernel: &K) {
        pr_warn!("forcing remaining tasks to the patched state\n");
        Self::for_each_task(kernel, |task| kernel.shared().update_locked(task));

        // Tasks may still be in the code that the transition is about to give up: it stays.
        let target = kernel.shared().target();
        let Some(handle) = self.transition.as_ref().map(|transition| transition.patch) else {
            return;
        };
        let replace = self.find(handle).is_some_and(|patch| patch.replace);
        for patch in self.patches.iter_mut() {
            let leaves = if target == State::Unpatched {
                patch.handle == handle
            } else {
                replace && patch.handle != handle
            };
            if leaves {
                patch.set_forced(kernel);
            }
        }
    }

    /// Makes the stack check anew after an object of the patch in transition came or went. Meanwhile
    /// there is none, and no task moves by its stack.
    pub(crate) fn renew_stack_check(&mut self, kernel: &K, about_to: &dyn Fn(&Object<K>) -> bool) {
        let check = kernel.replace_stack_check(None);
        // The scheduler may have been looking things up in it. Handlers of functions that were
        // detached finish too.
        kernel.synchronize();
        self.sites.reap();
        let (Some(patch), Some(mut check)) = (self.transition_patch(), check) else {
            kernel::warn_on!(true);
            return;
        };
        self.fill_stack_check(&mut check, patch, about_to);
        kernel.replace_stack_check(Some(check));
    }
}
