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
//! | [target](super::task::Shared::target) | the holder of the core's lock | what moves a task |
//! | a task's pending flag | set under the lock; cleared when the task is moved | the task itself |
//! | a task's state | the lock's holder, its flag clear; else the code that moves it | its calls |
//! | [`Site`](super::site::Site) | the holder of the lock | the handler |
//!
//! A task moves itself, or is moved while it can't run.
//!
//! # Memory ordering
//!
//! 1. *State before transition.* [`Transition::begin`] gives each task its state and then issues a
//!    write barrier. Only then do the sites show the transition, including the sites of functions
//!    that are patched for the first time. The handler loads the site with acquire before it loads
//!    the state. So a call that sees a transition sees a state.
//! 2. *Target before pending.* The write barrier in [`Transition::begin`] also orders the target
//!    before the pending flags that [`Transition::start`] sets. A reader that finds a flag set then
//!    reads the new target: test-and-clear is a full barrier, and the scheduler's path has a read
//!    barrier. This holds even if the patch changes no site because its module is not loaded.
//! 3. *Transition before pending.* A task may move right after its flag is set and make its next
//!    call at once. [`Site::publish`](super::site::Site::publish), which is also the last step of
//!    attaching new hooks, orders the change before all later stores, such as the flags. The task's
//!    test-and-clear orders its move before the handler's search for the site and its read of the
//!    site. An earlier call may or may not find the hook. If it finds none, it runs the original,
//!    which is the right version for the task at that point.
//! 4. *End.* Before the states become idle again, [`Scheduler::synchronize`] waits until no CPU is
//!    in a handler that still saw the transition. The same wait makes it safe to drop the hooks of
//!    detached functions, and to store the versions of the next transition in the sites
//!    (`site.rs`). It does not cover a task that left a handler and was preempted in the
//!    tracer's trampoline before it reached the chosen function. Such a task counts as inside that
//!    function (`stack.rs`), so it has not moved and the transition has not ended. A forced
//!    transition ends regardless; the patch then stays in memory for ever.

mod blockers;
mod busy;
mod deadline;
mod early;
mod plain;
mod trace;
mod why;

pub use blockers::{
    Identify,
    Identity, //
};
pub use busy::Busy;
pub use deadline::Deadline;
pub use early::{
    moved,
    Delays,
    Early, //
};
pub use plain::Words;
pub use trace::{
    Counts,
    Trace,
    Way, //
};

pub(super) use early::Moves;
pub(super) use trace::Tally;
pub(super) use why::Progress;

use early::{
    Attempt,
    Pace,
    Round, //
};
use trace::Record;

use super::{
    patch::{
        Patch,
        Sites,
        Which, //
    },
    registry::Selected,
    stack::{
        Checks,
        StackCheck, //
    },
    symbol::{
        Name,
        Text, //
    },
    task::{
        State,
        Task,
        Tasks, //
    },
    Kernel,
};
use kernel::{
    fmt,
    prelude::*,
    sync::barrier::{
        smp_mb,
        Read,
        Write, //
    }, //
};

/// A second in milliseconds, the unit of all times here.
const SECOND: u64 = 1000;

/// Time between two rounds of signals to the tasks that have not moved, as in the C core.
const SIGNALS_TIMEOUT: u64 = 15 * SECOND;

/// Which way a transition goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the patch's versions.
    Patching,
    /// To the versions below.
    Unpatching,
}

impl Direction {
    /// Returns the state that the tasks move to.
    const fn target(self) -> State {
        match self {
            Self::Patching => State::Patched,
            Self::Unpatching => State::Unpatched,
        }
    }

    /// Returns the state that the tasks leave.
    const fn origin(self) -> State {
        self.reversed().target()
    }

    const fn reversed(self) -> Self {
        match self {
            Self::Patching => Self::Unpatching,
            Self::Unpatching => Self::Patching,
        }
    }

    /// Returns the word that messages use.
    const fn verb(self) -> &'static str {
        match self {
            Self::Patching => "patching",
            Self::Unpatching => "unpatching",
        }
    }
}

/// What the core asks of the scheduler and the CPUs.
pub trait Scheduler: Tasks {
    /// Evidence that every CPU has scheduled.
    type Quiesced;

    /// Waits until every CPU has scheduled. Then all handlers that began before have finished, and
    /// a stack check that was taken back before is no longer in use. Unlike RCU, this covers idle
    /// and user mode too.
    fn synchronize(&self) -> Self::Quiesced;
    /// Sets whether the scheduler tries to move the task that it switches away from.
    fn switch_in_scheduler(&self, on: bool);
    /// Sends an idle CPU through its idle loop.
    fn wake_idle(&self, cpu: u32);
}

/// What the core asks of the clock.
pub trait Clock {
    /// Whether this kernel is built with deadlines. Otherwise no transition has one.
    const DEADLINES: bool = false;

    /// Schedules one call of [`Core::retry`](super::registry::Core::retry) in about `delay`
    /// milliseconds, 1 to 1000. Replaces an earlier request.
    fn retry_later(&self, delay: u64);
}

/// Where the messages for dynamic debug go.
pub trait Log: Tasks {
    /// Prints a line for dynamic debug.
    fn debug(&self, message: DebugMessage<'_, Self::Task>);
}

/// Why a task could not move.
pub enum Stuck<'a> {
    /// The task is running on another CPU.
    Running,
    /// The task's stack is not reliable.
    Unreliable,
    /// The task is inside the function with this name and number.
    Inside(Text<'a>, usize),
    /// There is no stack check: it is being rebuilt.
    Unchecked,
}

/// The messages for dynamic debug. Each comment names the C function that prints the message.
pub enum DebugMessage<'a, T> {
    /// `klp_init_transition()`
    Initializing(&'a Name, Direction),
    /// `klp_complete_transition()`
    Completing(&'a Name, Direction),
    /// `klp_cancel_transition()`
    Canceling(&'a Name),
    /// `klp_reverse_transition()`, with the old direction.
    Reversing(&'a Name, Direction),
    /// `klp_try_switch_task()`
    Stuck(&'a T, Stuck<'a>),
}

/// The text without a newline. It is empty for a stuck task: the bridge, which knows the task's
/// name, prints that message.
impl<T> fmt::Display for DebugMessage<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initializing(patch, direction) => f.write_fmt(fmt!(
                "'{}': initializing {} transition",
                patch,
                direction.verb()
            )),
            Self::Completing(patch, direction) => f.write_fmt(fmt!(
                "'{}': completing {} transition",
                patch,
                direction.verb()
            )),
            Self::Canceling(patch) => f.write_fmt(fmt!(
                "'{}': canceling patching transition, going to unpatch",
                patch
            )),
            Self::Reversing(patch, from) => f.write_fmt(fmt!(
                "'{}': reversing transition from {} to {}",
                patch,
                from.verb(),
                from.reversed().verb()
            )),
            Self::Stuck(..) => Ok(()),
        }
    }
}

/// Tries to move `task` if its flag is set.
///
/// The task is the current one, if the scheduler calls this ([`Way::Scheduler`]). Otherwise the
/// stopper calls this ([`Way::Stopper`]): the task was [taken off its CPU](Busy::take_off_cpu) and
/// may be on any CPU by now. The core's lock can't be taken here. Preemption is off, so the target
/// does not change until the task has moved, see [`Shared::update`](super::task::Shared::update).
///
/// C counterpart, for the current task: `__klp_sched_try_switch()`.
pub fn switch_if_pending<K: Checks + Log + Trace>(
    kernel: &K,
    task: &K::Task,
    off: &<K::Task as Task>::PreemptionOff,
    way: Way,
) {
    if !task.is_pending() {
        return;
    }
    // Read the flag before the target: point 2 of the module's documentation.
    smp_mb(Read);
    try_switch(kernel, task, off, way);
}

/// Tries to move `task` by checking its stack. Returns whether it has moved, now or earlier.
fn try_switch<K: Checks + Log + Trace>(
    kernel: &K,
    task: &K::Task,
    off: &<K::Task as Task>::PreemptionOff,
    way: Way,
) -> bool {
    let target = kernel.shared().target();
    if task.state() == target {
        return true;
    }
    if !kernel.has_reliable_stacks() {
        return false;
    }
    let mut outcome = None;
    kernel.with_check(off, &mut |check| {
        let mut result = Err(Stuck::Running);
        kernel.pin(task, &mut |pinned| {
            result = switch_if_safe(kernel, task, pinned, check, target);
        });
        match result {
            Ok(switched) => outcome = Some(switched),
            Err(reason) => kernel.debug(DebugMessage::Stuck(task, reason)),
        }
    });
    if outcome == Some(true) {
        // The task is not pinned any more: a tracer may want the scheduler's locks.
        moved(kernel, task, way);
    }
    outcome.is_some()
}

/// Moves `task` unless it is running on another CPU or is inside a changing function. Returns
/// whether the task had not moved yet.
fn switch_if_safe<'a, K: Checks + Log>(
    kernel: &K,
    task: &K::Task,
    pinned: &K::Pinned,
    check: Option<&'a StackCheck>,
    target: State,
) -> Result<bool, Stuck<'a>> {
    look(kernel, task, pinned, check, target)?;
    // The task may have moved before it was pinned.
    if task.state() == target {
        return Ok(false);
    }
    task.clear_pending();
    task.set_state(target);
    Ok(true)
}

/// Finds out whether `task` can move to `target`, and does not move it.
fn look<'a, K: Checks>(
    kernel: &K,
    task: &K::Task,
    pinned: &K::Pinned,
    check: Option<&'a StackCheck>,
    target: State,
) -> Result<(), Stuck<'a>> {
    if kernel.runs_elsewhere(task) {
        return Err(Stuck::Running);
    }
    // Without a stack check, the task can't be shown to be safe.
    let check = check.ok_or(Stuck::Unchecked)?;
    if !plain::is_outside(kernel, pinned, check, target) {
        let mut inside = None;
        kernel
            .stack(pinned, &mut |entries| inside = check.find(target, entries))
            .map_err(|_| Stuck::Unreliable)?;
        if let Some(function) = inside {
            return Err(Stuck::Inside(check.name(function), function));
        }
    }
    Ok(())
}

/// Calls `each` for every task, including the idle tasks.
fn for_each_task<K: Tasks>(kernel: &K, mut each: impl FnMut(&K::Task)) {
    kernel.for_each_thread(&mut each);
    kernel.for_each_idle(&mut each);
}

/// A transition in progress, as far as the tasks are concerned. Its patch owns it.
pub(crate) struct Transition<K: Early> {
    direction: Direction,
    pace: Pace<K::Instant>,
    /// The number of attempts since the transition started or was reversed.
    attempts: u64,
    /// Whether its deadline has turned it round. It has no deadline then.
    turned_round: bool,
    /// What is noted for those who want to know how the transition went.
    record: Record<K::Instant>,
}

impl<K: Kernel> Transition<K> {
    /// Puts all tasks in the state that the transition leaves. The sites may show the transition
    /// afterwards. No task moves before [`Self::start`].
    fn begin(kernel: &K, direction: Direction) -> Self {
        kernel.shared().set_target(direction.target());
        for_each_task(kernel, |task| {
            warn_on_once!(task.state() != State::Idle);
            task.set_state(direction.origin());
        });
        // Begin to count before there is a flag, so that no move is missed.
        let record = Record::new(kernel);
        // Order the states before the transition and the target before the pending flags: points 1
        // and 2 of the module's documentation.
        smp_mb(Write);
        Self {
            direction,
            pace: Pace::new(kernel),
            attempts: 0,
            turned_round: false,
            record,
        }
    }

    /// Lets the tasks move. C counterpart: `klp_start_transition()`.
    fn start(&mut self, kernel: &K, patch: &Name) {
        let verb = self.direction.verb();
        pr_notice!("'{}': starting {} transition\n", patch, verb);
        self.record.start(kernel, patch, self.direction);
        let target = self.direction.target();
        for_each_task(kernel, |task| {
            if task.state() != target {
                task.set_pending();
            }
        });
        kernel.switch_in_scheduler(true);
        self.pace = Pace::new(kernel);
        self.attempts = 0;
        self.turned_round = false;
    }

    /// Tries to move all remaining tasks. Returns what it has found.
    fn attempt(&mut self, kernel: &K) -> Attempt {
        let mut attempt = Attempt::new(kernel);
        // Do not hold the lock that forks wait for: a check of thousands of stacks takes long.
        kernel.for_each_thread_unlocked(&mut |task| {
            if !try_switch(kernel, task, &kernel.preemption_off(), Way::Attempt) {
                attempt.leave(kernel, task);
                self.take_off_cpu(kernel, task);
            }
        });
        if attempt.left == 0 {
            // Children that the first walk missed have the state that their parents had at the
            // fork. This walk covers them. After it, every new child starts in the target state.
            kernel.for_each_thread(&mut |task| {
                if !try_switch(kernel, task, &kernel.preemption_off(), Way::Attempt) {
                    attempt.leave(kernel, task);
                }
            });
        }
        let target = self.direction.target();
        kernel.for_each_cpu(&mut |task, cpu, online| {
            if online {
                if !try_switch(kernel, task, &kernel.preemption_off(), Way::Attempt) {
                    attempt.leave(kernel, task);
                    kernel.wake_idle(cpu);
                }
            } else if task.state() != target {
                // The idle task of an offline CPU is inside no function.
                task.clear_pending();
                task.set_state(target);
                moved(kernel, task, Way::Attempt);
            }
        });
        self.attempts = self.attempts.saturating_add(1);
        attempt
    }

    /// Nudges the remaining tasks, if it is time. C counterpart: `klp_send_signals()`.
    fn signal(&mut self, kernel: &K, waited: u64) {
        let Some(round) = self.pace.signals(waited) else {
            return;
        };
        if round == Round::First {
            pr_notice!("signaling remaining tasks\n");
        }
        kernel.for_each_thread(&mut |task| {
            // The task may be moving right now. A superfluous signal does no harm.
            let nudge = match round {
                Round::Early => !kernel.runs_elsewhere(task),
                Round::First | Round::Later => true,
            };
            if nudge && task.is_pending() {
                kernel.signal(task);
            }
        });
    }

    /// Turns the transition round. Its patch has to be told between this and [`Self::start`].
    fn reverse(&mut self, kernel: &K) {
        // No task may move while the target changes, or it would end in the wrong state.
        for_each_task(kernel, |task| task.clear_pending());
        let _: K::Quiesced = kernel.synchronize();
        self.direction = self.direction.reversed();
        kernel.shared().set_target(self.direction.target());
        // Order the target before the pending flags that `start` sets.
        smp_mb(Write);
    }

    /// Ends the transition: all tasks are in the target state, and every handler that saw the
    /// transition has finished.
    fn complete(self, kernel: &K, _quiesced: K::Quiesced) -> Direction {
        for_each_task(kernel, |task| {
            warn_on_once!(task.is_pending());
            task.set_state(State::Idle);
        });
        kernel.shared().set_target(State::Idle);
        self.direction
    }
}

impl<K: Kernel> Selected<'_, K> {
    /// Puts all tasks in the state that they are to leave, and the patch's functions in transition.
    ///
    /// No task moves before [`Self::start`]. C counterpart: `klp_init_transition()`.
    ///
    /// Errors: the tracer's error if calls can't be sent through the handler.
    pub(crate) fn begin(&mut self, kernel: &K, direction: Direction) -> Result {
        let Self { patch, sites, .. } = self;
        patch.unsettle(kernel, sites)?;
        let Some(mut check) = patch.check.take() else {
            // Every listed patch has one.
            warn_on_once!(true);
            return Err(EINVAL);
        };
        let patching = direction == Direction::Patching;
        check.clear();
        for object in &patch.objects {
            if object.patched || (patching && object.is_loaded()) {
                object.add_to(sites, &mut check);
            }
        }
        check.finish();
        kernel.debug(DebugMessage::Initializing(&patch.name, direction));
        let none = kernel.publish_check(Some(check));
        kernel::warn_on!(none.is_some());

        kernel.mirror_transition(Some(&patch.handle));
        patch.transition = Some(Transition::begin(kernel, direction));
        patch.set_transition(kernel, sites, true);
        Ok(())
    }

    /// Lets the tasks move.
    pub(crate) fn start(&mut self, kernel: &K) {
        let Patch {
            transition, name, ..
        } = &mut *self.patch;
        if let Some(transition) = transition {
            transition.start(kernel, name);
        }
    }

    /// Tries to move all remaining tasks, and ends the transition once all have moved.
    ///
    /// C counterpart: `klp_try_complete_transition()`.
    pub(crate) fn attempt(&mut self, kernel: &K) {
        let Patch {
            transition,
            name,
            deadline,
            ..
        } = &mut *self.patch;
        let Some(transition) = transition else {
            return;
        };
        let waited = transition.pace.waited(kernel);
        let begin = kernel.now();
        let attempt = transition.attempt(kernel);
        let left = attempt.left;
        transition.record.attempted(kernel, name, &begin, left);
        if left == 0 {
            kernel.switch_in_scheduler(false);
            self.complete(kernel);
            return;
        }
        let left = transition.time_left(kernel, *deadline);
        if left == Some(0) {
            self.turn_round(kernel);
            return;
        }
        let took = transition.pace.waited(kernel).saturating_sub(waited);
        transition.signal(kernel, waited);
        let delay = transition.pace.next_delay(waited, took);
        kernel.retry_later(deadline::shorten(delay, left));
        // This may ask for an attempt sooner than the line above.
        attempt.wait(kernel);
    }

    /// Ends the transition: all tasks are in the target state.
    ///
    /// C counterpart: `klp_complete_transition()`.
    fn complete(&mut self, kernel: &K) {
        let Some(transition) = self.patch.transition.take() else {
            return;
        };
        let Self {
            older,
            patch,
            sites,
            ..
        } = self;
        let direction = transition.direction;
        kernel.debug(DebugMessage::Completing(&patch.name, direction));
        let replaces = patch.replace && direction == Direction::Patching;
        if replaces {
            // The patch has a version of each of the older patches' functions. Without those
            // patches, the functions of its nops run their original anyway.
            for old in older.iter_mut() {
                old.set_enabled(kernel, false);
                kernel.patch_replaced(&old.name, &patch.name);
                old.unpatch(kernel, sites, Which::All);
            }
            patch.unpatch(kernel, sites, Which::Nops);
        }
        // The stack check may be in use until the synchronization below.
        let check = kernel.publish_check(None);
        if direction == Direction::Unpatching {
            patch.unpatch(kernel, sites, Which::All);
        }
        patch.set_transition(kernel, sites, false);
        sites.detach(kernel);
        // Every handler must see the end of the transition before the states become idle and before
        // the sites show another one, and the handlers of detached functions must finish before
        // their hooks are reaped.
        let quiesced = kernel.synchronize();
        sites.reap(kernel, &quiesced);
        patch.check = check.and_then(|check| kernel.reclaim_check(check, &quiesced));
        if replaces {
            patch.release(kernel, Which::Nops);
        }
        patch.last = Some(Progress::of(kernel, &transition));
        // The wait above was also one for those who count a move.
        let counts = transition.counts(kernel);
        let direction = transition.complete(kernel, quiesced);

        // Settle before the end of the transition becomes visible.
        self.settle(kernel);
        let Self { patch, .. } = self;
        for object in patch.objects.iter_mut() {
            if !object.is_loaded() {
                continue;
            }
            match direction {
                Direction::Patching => kernel.post_patch(&object.handle),
                Direction::Unpatching => object.post_unpatch(kernel),
            }
        }
        pr_notice!("'{}': {} complete\n", patch.name, direction.verb());
        if let Some(counts) = counts {
            kernel.transition_completed(&patch.name, &counts);
            patch.last_counts = Some(counts);
        }
        kernel.mirror_transition(None);
    }

    /// Cancels the enabling of a patch whose transition has begun but not started.
    ///
    /// C counterpart: `klp_cancel_transition()`.
    pub(crate) fn cancel(&mut self, kernel: &K) {
        kernel.debug(DebugMessage::Canceling(&self.patch.name));
        if let Some(transition) = &mut self.patch.transition {
            transition.direction = Direction::Unpatching;
            kernel.shared().set_target(State::Unpatched);
        }
        self.complete(kernel);
    }

    /// Reverses the transition. C counterpart: `klp_reverse_transition()`.
    pub(crate) fn reverse(&mut self, kernel: &K) {
        let enabled = !self.patch.enabled;
        let Some(transition) = &mut self.patch.transition else {
            return;
        };
        let from = transition.direction;
        kernel.debug(DebugMessage::Reversing(&self.patch.name, from));
        transition.reverse(kernel);
        self.patch.set_enabled_and_report(kernel, enabled);
        self.start(kernel);
        // No attempt right now: most tasks are in the new target state already.
        if let Some(transition) = &self.patch.transition {
            kernel.retry_later(transition.pace.next_delay(0, 0));
        }
    }

    /// Moves all tasks at once, wherever they are. C counterpart: `klp_force_transition()`.
    pub(crate) fn force(&mut self, kernel: &K) {
        let Some(transition) = &self.patch.transition else {
            return;
        };
        pr_warn!("forcing remaining tasks to the patched state\n");
        kernel.transition_forced(&self.patch.name, transition.direction);
        for_each_task(kernel, |task| {
            if kernel.shared().update_locked(task) {
                moved(kernel, task, Way::Force);
            }
        });

        // Tasks may still be in the code that the transition retires, so that code stays in memory.
        if transition.direction == Direction::Unpatching {
            self.patch.set_forced(kernel);
        } else {
            // If nothing is replaced too: a later transition does not look for the versions below.
            for old in self.older.iter_mut() {
                old.set_forced(kernel);
            }
        }
    }
}

/// Changes the stack check of a transition in progress after an object of its patch came or went.
///
/// Meanwhile there is no stack check, and no task moves by its stack.
pub(crate) fn change_check<K: Kernel>(
    kernel: &K,
    sites: &mut Sites<K>,
    change: impl FnOnce(&mut StackCheck, &Sites<K>),
) {
    let check = kernel.publish_check(None);
    // The scheduler may still be searching the old stack check. This also waits for the handlers of
    // detached functions.
    let quiesced = kernel.synchronize();
    sites.reap(kernel, &quiesced);
    let check = check.and_then(|check| kernel.reclaim_check(check, &quiesced));
    let Some(mut check) = check else {
        kernel::warn_on!(true);
        return;
    };
    change(&mut check, sites);
    kernel.publish_check(Some(check));
}
