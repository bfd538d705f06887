// SPDX-License-Identifier: GPL-2.0

//! Transition: moving every task from one version of the patched functions to the other.
//!
//! A task moves when its stack is found to hold none of the changing functions, when it leaves the
//! kernel, or in the idle loop. Until then its state says which version its calls get.
//!
//! C counterpart: `kernel/livepatch/transition.c`.
//!
//! # Who writes what
//!
//! | what | written by | read by |
//! |---|---|---|
//! | [`Shared::target`] | the holder of the core's lock | the code that moves a task |
//! | a task's pending flag | set under the lock; cleared when the task is moved | the task itself |
//! | a task's state | the lock's holder, its flag clear; else the code that moves it | its calls |
//! | [`Site`](super::site::Site) | the holder of the lock | the handler |
//!
//! A task moves itself, or is moved while it can't run.
//!
//! # Memory ordering
//!
//! 1. *State before transition.* [`Core::begin`] gives each task its state and then issues a write
//!    barrier. Only then do the sites show the transition, including the sites of functions that
//!    are patched for the first time. The handler loads the site with acquire before it loads the
//!    state. So a call that sees a transition sees a state.
//! 2. *Target before pending.* The write barrier in [`Core::begin`] also orders the target before
//!    the pending flags that [`Core::start`] sets. A reader that finds a flag set then reads the
//!    new target: test-and-clear is a full barrier, and the scheduler's path has a read barrier.
//!    This holds even if the patch changes no site because its module is not loaded.
//! 3. *Transition before pending.* A task may move right after its flag is set and make its next
//!    call at once. [`Site::publish`](super::site::Site::publish), which is also the last step of
//!    attaching new hooks, orders the change before all later stores, such as the flags. The task's
//!    test-and-clear orders its move before the handler's search for the site and its read of the
//!    site. An earlier call may or may not find the hook. If it finds none, it runs the original,
//!    which is the right version for the task at that point.
//! 4. *End.* Before the states become idle again, [`Tasks::synchronize`] waits until no CPU is in a
//!    handler that still saw the transition. The same wait makes it safe to drop the hooks of
//!    detached functions. It does not cover a task that left a handler and was preempted in the
//!    tracer's trampoline before it reached the chosen function. Such a task counts as inside that
//!    function (`stack.rs`), so it has not moved and the transition has not ended. A forced
//!    transition ends regardless; the patch then stays in memory for ever.
//!
//! # Tasks that are always running
//!
//! An attempt can't look at the stack of a task that is running on another CPU. A task that never
//! sleeps and never leaves the kernel would be found running each time. So the attempt takes it off
//! its CPU ([`Tasks::take_off_cpu`]): the stopper of that CPU, which only a lack of preemption
//! points can delay, runs and calls [`switch_if_pending`] for the task. The task is then queued and
//! not running. The attempt does not wait for the stopper: the next preemption point may be far
//! off.
//!
//! So that call can come at any time: in the same transition, after a reversal, after the end of
//! the transition, in a later transition, or after the task has exited. By then the task may be on
//! a different CPU than the call. The call does not hold the core's lock. It is safe for the same
//! reasons as the scheduler's own call:
//!
//! - *The flag says whether there is anything to do.* It is clear before a transition starts, while
//!   the sites may not show it yet. It is also clear once the task has moved, while the target
//!   changes, and after the transition. By point 2, a reader of the flag reads the target that
//!   belongs to it. After an exit nothing reads the state that the task gets.
//! - *Preemption is off from before the flag is read until the task has moved.* A reversal or the
//!   end of the transition waits in [`Tasks::synchronize`] for all callers that have seen the flag.
//!   So the target that was read is still the target, and the stack check still exists.
//! - *Only one caller moves the task at a time.* An attempt and a late call pin the task, one after
//!   the other, and both make the same change. The task does not move itself meanwhile, since it
//!   does not run.
//! - *The task sees the move before its next call*, since the pin has to be released before the
//!   task can run on any CPU. Point 3 holds for that call because the flag was read before.
//!
//! The call needs no lock of the core. It could not take one either: the holder may be waiting for
//! this very CPU.

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

/// A second in milliseconds, the unit of all times here.
const SECOND: u64 = 1000;

/// Time between two rounds of signals to the tasks that have not moved.
const SIGNALS_TIMEOUT: u64 = 15 * SECOND;

/// Returns how long to wait after an attempt that took `took`.
///
/// `waited` is the total wait before that attempt since the transition started or was reversed.
///
/// Nearly all tasks that don't move in the first attempt were merely running and move by themselves
/// within milliseconds. The transition then only needs another attempt. So the first attempts come
/// soon, each after twice the delay of the one before. After the first second there is one attempt
/// per second.
///
/// That makes six attempts more than a fixed rate of one per second. An attempt takes some
/// microseconds for each task and lets other tasks run meanwhile. With very many tasks, the
/// attempts of the first second could take more than a tenth of a CPU. They then come later, or not
/// at all.
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
    /// The version from before the patch.
    Unpatched = 0,
    /// The patch's version.
    Patched = 1,
}

impl State {
    /// Returns the value for `task->patch_state`.
    pub const fn to_raw(self) -> i32 {
        self as i32
    }

    /// Returns the state for a value of `task->patch_state`. An unknown value is idle.
    pub const fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::Unpatched,
            1 => Self::Patched,
            _ => Self::Idle,
        }
    }

    /// Returns the state at the other end of a transition.
    const fn opposite(self) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::Unpatched => Self::Patched,
            Self::Patched => Self::Unpatched,
        }
    }

    /// Returns the word that messages use for a transition to this state.
    const fn verb(self) -> &'static str {
        match self {
            Self::Patched => "patching",
            Self::Unpatched | Self::Idle => "unpatching",
        }
    }
}

/// One task, as handed out by the kernel.
pub trait Task {
    /// Evidence that preemption is off on this CPU. While it lives, the current task keeps the CPU,
    /// and [`Tasks::synchronize`] waits for that task.
    type PreemptionOff;

    /// Returns the task's state.
    fn state(&self) -> State;
    /// Sets the task's state.
    fn set_state(&self, state: State);
    /// Whether the task's pending flag (`TIF_PATCH_PENDING`) is set.
    fn is_pending(&self) -> bool;
    /// Sets the pending flag, so that the task moves when it leaves the kernel.
    fn set_pending(&self);
    /// Clears the pending flag.
    fn clear_pending(&self);
    /// Clears the pending flag and returns whether it was set. If it was, this is a full barrier.
    fn test_and_clear_pending(&self) -> bool;
    /// Whether the task never leaves the kernel. Such a task does not move by itself.
    fn stays_in_kernel(&self) -> bool;
}

/// Error: a stack trace is not reliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreliable;

/// What the core asks of the tasks, the CPUs and the scheduler.
pub trait Tasks: super::patch::Descriptors {
    /// A task.
    type Task: Task;

    /// Returns the state shared with the paths that move tasks without the core's lock.
    fn shared(&self) -> &Shared;
    /// Calls `each` for every thread except the idle threads. No task comes or goes meanwhile.
    fn for_each_thread(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for every thread except the idle threads, without keeping forks out. `each` may
    /// take long. Tasks that are forked meanwhile may be missed.
    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU.
    fn for_each_idle(&self, each: &mut dyn FnMut(&Self::Task));
    /// Calls `each` for the idle task of every possible CPU, with the CPU's number and whether the
    /// CPU is online. No CPU comes or goes meanwhile.
    fn for_each_cpu(&self, each: &mut dyn FnMut(&Self::Task, u32, bool));
    /// Sends an idle CPU through its idle loop.
    fn wake_idle(&self, cpu: u32);
    /// Whether stack traces are reliable on this kernel.
    fn has_reliable_stacks(&self) -> bool;
    /// Runs `job` with preemption off while `task` stays as it is: asleep, queued or running. The
    /// current task needs no pin: it stays as it is because it runs this function.
    fn pin(&self, task: &Self::Task, job: &mut dyn FnMut());
    /// Whether `task` is running, on a CPU other than this one.
    fn runs_elsewhere(&self, task: &Self::Task) -> bool;
    /// Queues a call of [`switch_if_pending`] for `task`, which is running on another CPU. The call
    /// comes as soon as that CPU can be preempted. Does not wait for the call. The core's lock is
    /// held.
    fn take_off_cpu(&self, task: &Self::Task);
    /// Calls `job` with the words on the stack of `task`, if every return address of the task is
    /// among them, and does nothing otherwise. The task is pinned.
    ///
    /// The words qualify if the task sleeps, no tracer keeps return addresses elsewhere, and no
    /// trampoline is about to call a function that is not on the stack yet. They come in parts,
    /// with one call of `job` for each part.
    fn words(&self, task: &Self::Task, job: &mut dyn FnMut(&[usize]));
    /// Calls `job` with the return addresses on the stack of `task`. The task is current or pinned.
    fn stack(&self, task: &Self::Task, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable>;
    /// Nudges a task that does not leave the kernel by itself, as a signal would.
    fn signal(&self, task: &Self::Task);
    /// Waits until every CPU has scheduled. Then all handlers that began before have finished, and
    /// a stack check that was replaced before is no longer in use. Unlike RCU, this covers idle and
    /// user mode too.
    fn synchronize(&self);
    /// Sets whether the scheduler tries to move the task that it switches away from.
    fn switch_in_scheduler(&self, on: bool);
    /// Returns the time since some fixed moment, in milliseconds.
    fn now(&self) -> u64;
    /// Schedules one call of [`Core::retry`] in about `delay` milliseconds, a second at most.
    /// Replaces an earlier request.
    fn retry_later(&self, delay: u64);
    /// Replaces the current stack check and returns the old one. The old one may still be in use
    /// until the next [`Self::synchronize`].
    fn replace_stack_check(&self, check: Option<Check<Self>>) -> Option<Check<Self>>;
    /// Calls `job` with the stack check, if there is one. Preemption is off.
    fn with_stack_check(&self, job: &mut dyn FnMut(&StackCheck<Self::Function>));
    /// Prints a line for dynamic debug.
    fn debug(&self, message: Debug<'_, Self>);
}

/// A stack check in its own allocation.
pub type Check<K> = KBox<StackCheck<<K as super::patch::Descriptors>::Function>>;

/// Why a task could not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck<F> {
    /// The task is running on another CPU.
    Running,
    /// The task's stack is not reliable.
    Unreliable,
    /// The task is inside this function.
    Inside(F),
    /// There is no stack check: it is being rebuilt.
    Unchecked,
}

/// The messages for dynamic debug. Each comment names the C function that prints the message.
pub enum Debug<'a, K: Tasks + ?Sized> {
    /// `klp_init_transition()`
    Initializing(&'a Name, State),
    /// `klp_complete_transition()`
    Completing(&'a Name, State),
    /// `klp_cancel_transition()`
    Canceling(&'a Name),
    /// `klp_reverse_transition()`, with the old target.
    Reversing(&'a Name, State),
    /// `klp_try_switch_task()`
    Stuck(&'a K::Task, Stuck<K::Function>),
}

/// The text without a newline. It is empty for a stuck task: the bridge, which knows the task's
/// name, prints that message.
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

/// State shared between the holder of the core's lock and the paths that run without it: the exit
/// to user mode, the idle loop, the scheduler and fork.
pub struct Shared {
    /// The state that the tasks move to (`klp_target_state`).
    target: Atomic<i32>,
}

impl Shared {
    /// Creates the state without a transition.
    pub const fn new() -> Self {
        Self {
            target: Atomic::new(State::Idle.to_raw()),
        }
    }

    /// Returns the state that the tasks move to. It is idle if there is no transition.
    pub fn target(&self) -> State {
        // Relaxed: ordered by the barriers that the module's documentation lists.
        State::from_raw(self.target.load(Relaxed))
    }

    fn set_target(&self, target: State) {
        self.target.store(target.to_raw(), Relaxed);
    }

    /// Moves `task` if its flag is set. The task is current or can't run.
    ///
    /// Preemption is off, so the target does not change between the read of the flag and the write
    /// of the state: [`Core::reverse`] waits for this. C counterpart: `klp_update_patch_state()`.
    pub fn update<T: Task>(&self, task: &T, _off: &T::PreemptionOff) {
        self.update_locked(task);
    }

    /// Moves `task` if its flag is set. The caller has preemption off, or holds the core's lock:
    /// the target changes only under that lock.
    fn update_locked<T: Task>(&self, task: &T) {
        // If the flag was set, this is a full barrier. The target was stored before the flag was
        // set, and the handler's later read of a site is ordered after the barrier.
        if task.test_and_clear_pending() {
            task.set_state(self.target());
        }
    }

    /// Gives a child that is being forked the flag and the state of its parent, the current task.
    ///
    /// C counterpart: `klp_copy_process()`. The caller holds the lock that
    /// [`Tasks::for_each_thread`] takes, so the child is created entirely before or entirely after
    /// such a walk.
    ///
    /// The parent can't move meanwhile. It does not move itself, since it runs this function. Other
    /// callers do not move it either: preemption is off, so they see that it is running. The lock
    /// alone is not enough. An attempt moves tasks without it, and on kernels where the lock may
    /// sleep, the parent may be preempted while it holds the lock. The child would then get the
    /// flag from before the move and the state from after it.
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

/// Tries to move `task` if its flag is set.
///
/// The task is the current one, if the scheduler calls this. Otherwise it was [taken off its
/// CPU](Tasks::take_off_cpu) and may be on any CPU by now. The core's lock can't be taken here.
/// Preemption is off, so the target does not change until the task has moved, see
/// [`Shared::update`].
///
/// C counterpart, for the current task: `__klp_sched_try_switch()`.
pub fn switch_if_pending<K: Tasks + ?Sized>(
    kernel: &K,
    task: &K::Task,
    _off: &<K::Task as Task>::PreemptionOff,
) {
    if !task.is_pending() {
        return;
    }
    // Read the flag before the target: point 2 of the module's documentation.
    smp_mb(Read);
    try_switch(kernel, task);
}

/// Tries to move `task` by checking its stack. Returns whether it has moved, now or earlier.
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

/// Moves `task` unless it is running on another CPU or is inside a changing function. The task is
/// pinned.
fn switch_if_safe<K: Tasks + ?Sized>(
    kernel: &K,
    task: &K::Task,
    target: State,
) -> Result<(), Stuck<K::Function>> {
    if kernel.runs_elsewhere(task) {
        return Err(Stuck::Running);
    }
    if !is_plainly_outside(kernel, task, target) {
        // Without a stack check, the task can't be shown to be safe.
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

/// Whether no word on the stack of `task` points into a changing function. The task is pinned.
///
/// This holds for most sleeping tasks, and a look at each word costs a fraction of unwinding. A
/// word that does point into such a function may be a return address or a leftover. Only unwinding
/// can tell them apart.
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

/// The transition in progress.
pub(crate) struct Ongoing<P> {
    /// The patch that is being enabled or disabled.
    pub(crate) patch: P,
    /// Total wait between attempts since the transition started or was reversed, in milliseconds.
    waited: u64,
}

impl<K: Kernel> Core<K> {
    /// Returns the patch in transition.
    pub(crate) fn transition_patch(&self) -> Option<&Patch<K>> {
        self.find(self.transition.as_ref()?.patch)
    }

    /// Calls `each` for every task, including the idle tasks.
    fn for_each_task(kernel: &K, mut each: impl FnMut(&K::Task)) {
        kernel.for_each_thread(&mut each);
        kernel.for_each_idle(&mut each);
    }

    /// Fills `check` with the ranges to look for on the stacks while `patch` is in transition.
    ///
    /// A task can only be inside code of objects that are patched or are `about_to` be patched.
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

    /// Puts all tasks in the state opposite to `target` and the patch's functions in transition.
    ///
    /// No task moves before [`Self::start`]. C counterpart: `klp_init_transition()`.
    ///
    /// Errors: `EINVAL` if the patch is not listed, which no caller lets happen; the tracer's error
    /// if calls can't be sent through the handler.
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
        // Order the states before the transition and the target before the pending flags: points 1
        // and 2 of the module's documentation.
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

    /// Tries to move all remaining tasks, and ends the transition once all have moved.
    ///
    /// C counterpart: `klp_try_complete_transition()`.
    pub(crate) fn try_complete(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        warn_on_once!(target == State::Idle);
        let start = kernel.now();
        let first = matches!(&self.transition, Some(transition) if transition.waited == 0);
        let mut complete = true;
        // Do not hold the lock that forks wait for: a check of thousands of stacks takes long.
        kernel.for_each_thread_unlocked(&mut |task| {
            if !try_switch(kernel, task) {
                complete = false;
                Self::take_off_cpu(kernel, task, first);
            }
        });
        if complete {
            // Children that the first walk missed have the state that their parents had at the
            // fork. This walk covers them. After it, every new child starts in the target state.
            kernel.for_each_thread(&mut |task| complete &= try_switch(kernel, task));
        }
        kernel.for_each_cpu(&mut |task, cpu, online| {
            if online {
                if !try_switch(kernel, task) {
                    complete = false;
                    kernel.wake_idle(cpu);
                }
            } else if task.state() != target {
                // The idle task of an offline CPU is inside no function.
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

    /// Takes `task`, which could not move, off its CPU if it is running, so that it can move.
    ///
    /// Nearly all running tasks are in user mode or on their way there, and move by themselves
    /// before the next attempt. So the `first` attempt only takes tasks that never leave the kernel
    /// off their CPU.
    fn take_off_cpu(kernel: &K, task: &K::Task, first: bool) {
        let hopeless = !kernel.has_reliable_stacks();
        let patient = first && !task.stays_in_kernel();
        if !hopeless && !patient && kernel.runs_elsewhere(task) {
            kernel.take_off_cpu(task);
        }
    }

    /// Requests the next attempt after one that took `took`.
    fn retry_later(&mut self, kernel: &K, took: u64) {
        if let Some(transition) = self.transition.as_mut() {
            let delay = next_delay(transition.waited, took);
            transition.waited = transition.waited.saturating_add(delay);
            kernel.retry_later(delay);
        }
    }

    /// Makes the attempt that [`Tasks::retry_later`] scheduled.
    pub fn retry(&mut self, kernel: &K) {
        if self.transition.is_some() {
            self.try_complete(kernel);
        }
    }

    /// Nudges the remaining tasks. C counterpart: `klp_send_signals()`.
    fn signal(kernel: &K, first: bool) {
        if first {
            pr_notice!("signaling remaining tasks\n");
        }
        kernel.for_each_thread(&mut |task| {
            // The task may be moving right now. A superfluous signal does no harm.
            if task.is_pending() {
                kernel.signal(task);
            }
        });
    }

    /// Ends the transition and frees the patches that it made superfluous.
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

    /// Ends the transition: all tasks are in the target state.
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
        // The stack check may be in use until the synchronization below.
        let check = kernel.replace_stack_check(None);
        if target == State::Unpatched {
            let Self { patches, sites, .. } = self;
            if let Some(patch) = patches.iter_mut().find(|patch| patch.handle == handle) {
                patch.unpatch(kernel, sites, Which::All);
            }
        }
        self.set_transition(kernel, handle, false);
        self.sites.detach(kernel);
        // Every handler must see the end of the transition before the states become idle, and the
        // handlers of detached functions must finish before their hooks are reaped.
        kernel.synchronize();
        self.sites.reap();
        if let Some(patch) = self.find_mut(handle) {
            patch.check = check;
        }
        if replaces {
            // A caller may have found a nop through the old stack check. The synchronization has
            // waited for it.
            self.release_nops(kernel, handle);
        }

        Self::for_each_task(kernel, |task| {
            warn_on_once!(task.is_pending());
            task.set_state(State::Idle);
        });
        // Settle before the end of the transition becomes visible.
        self.settle(kernel);
        self.finish(kernel, handle, target);
    }

    /// Does the last part of [`Self::complete`]: runs the callbacks, prints the message and clears
    /// the transition.
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

    /// Cancels a transition that has begun but not started.
    ///
    /// C counterpart: `klp_cancel_transition()`.
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

    /// Reverses the transition. C counterpart: `klp_reverse_transition()`.
    pub(crate) fn reverse(&mut self, kernel: &K) {
        let target = kernel.shared().target();
        if let Some(patch) = self.transition_patch() {
            kernel.debug(Debug::Reversing(&patch.name, target));
        }
        // No task may move while the target changes, or it would end in the wrong state.
        Self::for_each_task(kernel, |task| task.clear_pending());
        kernel.synchronize();

        let handle = self.transition.as_ref().map(|transition| transition.patch);
        if let Some(patch) = handle.and_then(|handle| self.find_mut(handle)) {
            let enabled = !patch.enabled;
            patch.set_enabled(kernel, enabled);
        }
        kernel.shared().set_target(target.opposite());
        // Order the target before the pending flags that `start` sets.
        smp_mb(Write);
        self.start(kernel);
        // No attempt right now: most tasks are in the new target state already.
        self.retry_later(kernel, 0);
    }

    /// Moves all tasks at once, wherever they are. C counterpart: `klp_force_transition()`.
    pub(crate) fn force(&mut self, kernel: &K) {
        pr_warn!("forcing remaining tasks to the patched state\n");
        Self::for_each_task(kernel, |task| kernel.shared().update_locked(task));

        // Tasks may still be in the code that the transition retires, so that code stays in memory.
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

    /// Rebuilds the stack check after an object of the patch in transition came or went.
    ///
    /// Meanwhile there is no stack check, and no task moves by its stack.
    pub(crate) fn renew_stack_check(&mut self, kernel: &K, about_to: &dyn Fn(&Object<K>) -> bool) {
        let check = kernel.replace_stack_check(None);
        // The scheduler may still be searching the old stack check. This also waits for the
        // handlers of detached functions.
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
