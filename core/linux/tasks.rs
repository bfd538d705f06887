// SPDX-License-Identifier: GPL-2.0

//! Tasks, their stacks, CPUs and the scheduler.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/stacktrace.h`](srctree/include/linux/stacktrace.h),
//! [`include/linux/livepatch_sched.h`](srctree/include/linux/livepatch_sched.h).

mod blockers;
#[cfg(CONFIG_LIVEPATCH_BUSY_TASKS)]
mod busy;
pub(crate) mod early;
#[cfg(CONFIG_LIVEPATCH_PLAIN_STACKS)]
mod plain;

use crate::livepatch_arch::{
    Backend,
    Native, //
};
use crate::livepatch_core::{
    stack::{
        Check,
        Checks,
        StackCheck, //
    },
    symbol::Text,
    task::{
        Shared,
        State,
        Task,
        Tasks,
        Unreliable, //
    },
    transition::{
        self,
        Clock,
        DebugMessage,
        Log,
        Scheduler,
        Way, //
    }, //
};
use crate::{
    is_initialized,
    preempt,
    Linux,
    Static,
    KLP_MUTEX, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    cpu::nr_cpu_ids,
    current,
    prelude::*,
    sync::{
        atomic::{
            atomic_load,
            atomic_store,
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        barrier::smp_mb, //
    },
    task::Task as KernelTask,
    types::NotThreadSafe, //
};

/// State shared with the code that moves tasks without the core's lock.
static SHARED: Shared = Shared::new();

/// The stack check in use, or null if there is none. Readers have preemption off.
static STACK_CHECK: Atomic<*mut StackCheck> = Atomic::new(core::ptr::null_mut());

/// The number of the last wait for all CPUs that has begun. Never 0, see [`Since`].
static WAITS: Atomic<usize> = Atomic::new(1);

/// The number of a wait for all CPUs that has ended. Those with a lower number may still go on.
static ENDED: Atomic<usize> = Atomic::new(0);

/// Work that retries the transition.
static RETRY: Static<MaybeUninit<bindings::delayed_work>> = Static::new(MaybeUninit::uninit());

/// Turns on the call of `__klp_sched_try_switch()` in the scheduler.
#[no_mangle]
static klp_sched_try_switch_key: Static<MaybeUninit<bindings::static_key_false>> =
    Static::new(MaybeUninit::zeroed());

/// Initializes the work that retries the transition, for [`crate::livepatch_early_init`].
///
/// # Safety
///
/// This is the only call, and the work has not been scheduled yet.
pub(crate) unsafe fn init() {
    // SAFETY: The work has not been scheduled yet, so nothing else uses it.
    unsafe { bindings::init_delayed_work(RETRY.get().cast(), Some(retry)) };
}

/// Retries the transition.
///
/// # Safety
///
/// The context may sleep. The argument is not used.
unsafe extern "C" fn retry(_work: *mut bindings::work_struct) {
    KLP_MUTEX.lock().retry(&Linux);
}

/// Returns the task that `task` points to, or `None` if it is null.
///
/// # Safety
///
/// `task` is null, or the task exists for as long as the reference is used.
unsafe fn task_from_raw<'a>(task: *mut bindings::task_struct) -> Option<&'a KernelTask> {
    // SAFETY: `task` is null, or the task exists for as long as the reference is used. The type is
    // a transparent wrapper of the structure, which is only accessed through cells.
    unsafe { task.cast::<KernelTask>().as_ref() }
}

/// The flags of a task (`PF_*`).
fn flags(task: &KernelTask) -> c_uint {
    // SAFETY: The task exists. This only takes the address of the field.
    let flags = unsafe { &raw const (*task.as_ptr()).flags };
    // SAFETY: The task exists. It may change its flags meanwhile, so the read is volatile.
    unsafe { flags.read_volatile() }
}

/// Whether `task` is the current one.
fn is_current(task: *mut bindings::task_struct) -> bool {
    core::ptr::eq(task, KernelTask::current_raw())
}

/// A copy of a task's name (`comm`): bytes up to a NUL, or all of them.
pub(crate) struct TaskName([u8; bindings::TASK_COMM_LEN as usize]);

impl TaskName {
    /// Copies the name of `task`.
    pub(crate) fn of(task: &KernelTask) -> Self {
        // SAFETY: The task exists. This only takes the address of the field.
        let name = unsafe { &raw const (*task.as_ptr()).comm };
        let mut copy = Self([0; bindings::TASK_COMM_LEN as usize]);
        for (index, byte) in copy.0.iter_mut().enumerate() {
            // SAFETY: The index is within both arrays, which have the same length. The task may
            // change its name meanwhile, so the copy may be a mixture of two names. The read is
            // volatile, and any value will do.
            *byte = unsafe { name.cast::<u8>().add(index).read_volatile() };
        }
        copy
    }

    /// The name without a NUL.
    pub(crate) fn text(&self) -> Text<'_> {
        Text(self.0.split(|&byte| byte == 0).next().unwrap_or_default())
    }
}

impl Task for KernelTask {
    type PreemptionOff = preempt::Guard;

    fn state(&self) -> State {
        // SAFETY: The task exists. This only takes the address of the field.
        let field = unsafe { &raw mut (*self.as_ptr()).patch_state };
        // SAFETY: The task exists. The field is only accessed atomically while it is shared.
        State::from_raw(unsafe { atomic_load(field, Relaxed) })
    }

    fn set_state(&self, state: State) {
        // SAFETY: The task exists. This only takes the address of the field.
        let field = unsafe { &raw mut (*self.as_ptr()).patch_state };
        // SAFETY: The task exists. The field is only accessed atomically while it is shared.
        unsafe { atomic_store(field, state.to_raw(), Relaxed) };
    }

    fn is_pending(&self) -> bool {
        // SAFETY: The task exists.
        unsafe { bindings::test_task_patch_pending(self.as_ptr()) }
    }

    fn set_pending(&self) {
        // SAFETY: The task exists.
        unsafe { bindings::set_task_patch_pending(self.as_ptr()) };
    }

    fn clear_pending(&self) {
        // SAFETY: The task exists.
        unsafe { bindings::clear_task_patch_pending(self.as_ptr()) };
    }

    fn test_and_clear_pending(&self) -> bool {
        // SAFETY: The task exists.
        unsafe { bindings::test_and_clear_task_patch_pending(self.as_ptr()) }
    }
}

/// A task that stays as it is: asleep, queued or running. Preemption is off.
///
/// # Invariants
///
/// The task exists. It is the current one, or `task_call_func()` is running for it.
pub(crate) struct Pinned(NonNull<bindings::task_struct>, NotThreadSafe);

impl Pinned {
    fn as_ptr(&self) -> *mut bindings::task_struct {
        self.0.as_ptr()
    }
}

/// This CPU's buffer for return addresses.
///
/// # Invariants
///
/// `livepatch_take_entries()` handed the buffer out. Nothing else uses it before
/// `livepatch_put_entries()`.
struct TraceBuffer<'a> {
    first: NonNull<usize>,
    length: usize,
    /// Preemption is off for as long as the task is pinned.
    _pinned: &'a Pinned,
}

impl<'a> TraceBuffer<'a> {
    /// Takes the buffer. `None` if it is in use.
    fn take(pinned: &'a Pinned) -> Option<Self> {
        let mut length: c_uint = 0;
        // SAFETY: Preemption is off while the task is pinned, and `length` can be written.
        let first = unsafe { bindings::livepatch_take_entries(&raw mut length) };
        // INVARIANT: The buffer was handed out if it is not null.
        NonNull::new(first).map(|first| Self {
            first,
            length: length as usize,
            _pinned: pinned,
        })
    }

    /// The buffer. The kernel crate's `c_ulong` is `usize`.
    fn as_mut(&mut self) -> &mut [usize] {
        // SAFETY: By the type's invariant, nothing else uses the buffer. It has `length` entries,
        // and is initialized as all per-CPU memory is.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

impl Drop for TraceBuffer<'_> {
    fn drop(&mut self) {
        // SAFETY: `take` took this CPU's buffer, and preemption has been off since.
        unsafe { bindings::livepatch_put_entries() };
    }
}

/// Calls the closure that `job` points to with a task.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&KernelTask)` that nothing else uses during the call. The task
/// exists throughout the call.
unsafe extern "C" fn visit(task: *mut bindings::task_struct, job: *mut c_void) {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&KernelTask)>() };
    // SAFETY: The task exists throughout the call, and `job` can't keep the reference.
    if let Some(task) = unsafe { task_from_raw(task) } {
        job(task);
    }
}

/// Calls the closure that `job` points to with a task that is pinned.
///
/// # Safety
///
/// `task_call_func()` makes the call. `job` points to a `&mut dyn FnMut(&Pinned)` that nothing else
/// uses during the call.
unsafe extern "C" fn pinned(task: *mut bindings::task_struct, job: *mut c_void) -> c_int {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&Pinned)>() };
    if let Some(task) = NonNull::new(task) {
        // INVARIANT: `task_call_func()` is running for the task.
        job(&Pinned(task, NotThreadSafe));
    }
    0
}

/// Does nothing, as work on a CPU. Once it has run, that CPU has scheduled.
///
/// # Safety
///
/// There are no requirements: the argument is not used.
unsafe extern "C" fn nothing(_work: *mut bindings::work_struct) {}

/// Does nothing, as [`nothing`], in the form that `livepatch_work_on_each_cpu()` takes.
///
/// # Safety
///
/// There are no requirements: the argument is not used.
unsafe extern "C" fn nothing_either(_argument: *mut c_void) -> c_long {
    0
}

/// The idle task of `cpu`. `None` if there can be no such CPU.
fn idle_task(cpu: u32) -> Option<&'static KernelTask> {
    // SAFETY: `cpu` is below `nr_cpu_ids()`, which is all that `cpu_possible()` needs.
    if cpu >= nr_cpu_ids() || !unsafe { bindings::cpu_possible(cpu) } {
        return None;
    }
    // SAFETY: The CPU is possible.
    let task = unsafe { bindings::idle_task(cpu as c_int) };
    // SAFETY: Idle tasks are never freed.
    unsafe { task_from_raw(task) }
}

impl Tasks for Linux {
    type Task = KernelTask;
    type Pinned = Pinned;

    fn shared(&self) -> &Shared {
        &SHARED
    }

    fn preemption_off(&self) -> preempt::Guard {
        preempt::disable_notrace()
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&KernelTask)) {
        let mut each: &mut dyn FnMut(&KernelTask) = each;
        // SAFETY: `each` is valid during the call, and nothing else uses it. `visit` gets each task
        // under `tasklist_lock`, so the task exists.
        unsafe { bindings::livepatch_visit_threads(Some(visit), (&raw mut each).cast()) };
    }

    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&KernelTask)) {
        let mut number: c_int = 1;
        loop {
            // SAFETY: `number` can be written during the call.
            let task = unsafe { bindings::livepatch_get_next_thread(&raw mut number) };
            // SAFETY: `livepatch_get_next_thread()` took a reference to the task, which is only put
            // below.
            let Some(thread) = (unsafe { task_from_raw(task) }) else {
                return;
            };
            each(thread);
            // SAFETY: `livepatch_get_next_thread()` took the reference, and the task is not used
            // any more.
            unsafe { bindings::put_task_struct(task) };
        }
    }

    fn for_each_idle(&self, each: &mut dyn FnMut(&KernelTask)) {
        (0..nr_cpu_ids()).filter_map(idle_task).for_each(each);
    }

    fn for_each_cpu(&self, each: &mut dyn FnMut(&KernelTask, u32, bool)) {
        // SAFETY: The context may sleep, and the lock is released below.
        unsafe { bindings::cpus_read_lock() };
        for cpu in 0..nr_cpu_ids() {
            if let Some(task) = idle_task(cpu) {
                // SAFETY: `cpu` is below `nr_cpu_ids()`, which is all that `cpu_online()` needs.
                let online = unsafe { bindings::cpu_online(cpu) };
                each(task, cpu, online);
            }
        }
        // SAFETY: Pairs with the `cpus_read_lock()` above.
        unsafe { bindings::cpus_read_unlock() };
    }

    fn has_reliable_stacks(&self) -> bool {
        cfg!(CONFIG_STACKTRACE) && Native::RELIABLE_STACK
    }

    fn runs_elsewhere(&self, task: &KernelTask) -> bool {
        // SAFETY: The task exists.
        !is_current(task.as_ptr()) && unsafe { bindings::task_curr(task.as_ptr()) } != 0
    }

    fn pin(&self, task: &KernelTask, job: &mut dyn FnMut(&Pinned)) {
        if is_current(task.as_ptr()) {
            let _off = preempt::disable_notrace();
            if let Some(task) = NonNull::new(task.as_ptr()) {
                // INVARIANT: The task is the current one, and keeps the CPU until this returns.
                job(&Pinned(task, NotThreadSafe));
            }
            return;
        }
        let mut job: &mut dyn FnMut(&Pinned) = job;
        // SAFETY: The task exists. `job` is valid during the call, and nothing else uses it.
        unsafe { bindings::task_call_func(task.as_ptr(), Some(pinned), (&raw mut job).cast()) };
    }

    fn stack(&self, task: &Pinned, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable> {
        let mut buffer = TraceBuffer::take(task).ok_or(Unreliable)?;
        let entries = buffer.as_mut();
        #[cfg(all(CONFIG_STACKTRACE, CONFIG_HAVE_RELIABLE_STACKTRACE))]
        // SAFETY: The task exists and is current or pinned. `entries` has room for as many entries
        // as the call allows.
        let count = unsafe {
            bindings::stack_trace_save_tsk_reliable(
                task.as_ptr(),
                entries.as_mut_ptr(),
                entries.len() as c_uint,
            )
        };
        #[cfg(not(all(CONFIG_STACKTRACE, CONFIG_HAVE_RELIABLE_STACKTRACE)))]
        let count = -1;
        let count = usize::try_from(count).map_err(|_| Unreliable)?;
        let entries = entries.get_mut(..count).ok_or(Unreliable)?;
        // A task in a BPF trampoline counts as inside the function that the trampoline traces.
        #[cfg(CONFIG_BPF_JIT)]
        // SAFETY: The pointer and the length are those of `entries`, which nothing else uses.
        unsafe {
            bindings::livepatch_name_traced(entries.as_mut_ptr(), entries.len())
        };
        job(entries);
        Ok(())
    }

    fn signal(&self, task: &KernelTask) {
        let task = task.as_ptr();
        // SAFETY: The task exists. The flag does not change while it is on the list of tasks.
        if unsafe { (*task).flags } & bindings::PF_KTHREAD != 0 {
            // A kthread takes no signals, but can be woken from an interruptible sleep.
            //
            // SAFETY: The task exists.
            unsafe { bindings::wake_up_state(task, bindings::TASK_INTERRUPTIBLE) };
        } else {
            // SAFETY: The task exists.
            unsafe { bindings::set_notify_signal(task) };
        }
    }
}

/// Evidence that every CPU has scheduled: the number of the wait.
pub(crate) struct Quiesced(usize);

/// When something that others may use was taken from where they find it: the number of the last
/// wait that had begun by then. A wait that began later has waited for those who still used it.
#[derive(Clone, Copy)]
pub(crate) struct Since(usize);

impl Since {
    /// Now. Comes after the store that takes the thing away.
    pub(crate) fn now() -> Self {
        // A wait that is not counted here begins after that store.
        smp_mb(Full);
        Self(WAITS.load(Relaxed))
    }

    /// Whether nothing uses the thing any more. Warns otherwise, since the caller should have
    /// waited.
    pub(crate) fn is_over(self, quiesced: &Quiesced) -> bool {
        !warn_on_once!(quiesced.0 <= self.0)
    }

    /// Whether nothing uses the thing any more: a wait that began later has ended.
    pub(crate) fn has_passed(self) -> bool {
        // Acquire: pairs with the release in `Scheduler::synchronize`.
        ENDED.load(Acquire) > self.0
    }

    /// The number, for storage. It is neither 0 nor `usize::MAX`.
    pub(crate) const fn to_raw(self) -> usize {
        self.0
    }

    /// The moment with that number.
    pub(crate) const fn from_raw(number: usize) -> Self {
        Self(number)
    }
}

impl Scheduler for Linux {
    type Quiesced = Quiesced;

    fn synchronize(&self) -> Quiesced {
        // Full: what was taken away before this was taken away before the wait.
        let number = WAITS.fetch_add(1, Full).wrapping_add(1);
        // SAFETY: The context may sleep, and `nothing` has no requirements.
        if unsafe { bindings::schedule_on_each_cpu(Some(nothing)) } != 0 {
            // There is no memory for a work item per CPU. One on the stack serves the CPUs in turn.
            //
            // SAFETY: The context may sleep, and `nothing_either` has no requirements.
            unsafe { bindings::livepatch_work_on_each_cpu(Some(nothing_either)) };
        }
        // Release: pairs with the acquire in `Since::has_passed`.
        ENDED.store(number, Release);
        Quiesced(number)
    }

    fn switch_in_scheduler(&self, on: bool) {
        let key = klp_sched_try_switch_key
            .get()
            .cast::<bindings::static_key>();
        if on {
            // SAFETY: A `struct static_key_false` begins with its key, and the context may sleep.
            unsafe { bindings::static_key_enable(key) };
        } else {
            // SAFETY: A `struct static_key_false` begins with its key, and the context may sleep.
            unsafe { bindings::static_key_disable(key) };
        }
    }

    fn wake_idle(&self, cpu: u32) {
        if idle_task(cpu).is_some() {
            // SAFETY: The CPU is possible.
            unsafe { bindings::wake_up_if_idle(cpu as c_int) };
        }
    }
}

impl Clock for Linux {
    const DEADLINES: bool = cfg!(CONFIG_LIVEPATCH_DEADLINE);

    fn retry_later(&self, delay: u64) {
        let mut jiffies = kernel::time::msecs_to_jiffies(delay as kernel::time::Msecs);
        if delay >= 1000 {
            // A delay this long need not be exact: it may expire together with other timers.
            //
            // SAFETY: `round_jiffies_relative()` only computes.
            jiffies = unsafe { bindings::round_jiffies_relative(jiffies) };
        }
        // SAFETY: `init` initialized the work at boot, before there could be a transition.
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_percpu_wq,
                RETRY.get().cast(),
                jiffies,
            )
        };
    }
}

#[cfg(not(CONFIG_LIVEPATCH_BUSY_TASKS))]
impl transition::Busy for Linux {}

#[cfg(not(CONFIG_LIVEPATCH_PLAIN_STACKS))]
impl transition::Words for Linux {}

#[cfg(not(CONFIG_LIVEPATCH_TRACE))]
impl transition::Trace for Linux {}

/// A stack check that was taken back and may still be in use. Its memory is lost if it is dropped.
///
/// # Invariants
///
/// The pointer came from a box, which nothing else owns.
pub(crate) struct RetiredCheck {
    check: NonNull<StackCheck>,
    since: Since,
}

impl Checks for Linux {
    type Retired = RetiredCheck;

    fn publish_check(&self, check: Option<Check>) -> Option<RetiredCheck> {
        let new = check.map_or(core::ptr::null_mut(), KBox::into_raw);
        // Full: pairs with the acquire in `with_check`. The stack check is complete before it can
        // be seen.
        let old = STACK_CHECK.xchg(new, Full);
        // INVARIANT: Every pointer in `STACK_CHECK` came from `KBox::into_raw()`. The exchange took
        // this one out, so nothing else owns it.
        NonNull::new(old).map(|check| RetiredCheck {
            check,
            since: Since::now(),
        })
    }

    fn reclaim_check(&self, check: RetiredCheck, quiesced: &Quiesced) -> Option<Check> {
        // SAFETY: By the type's invariant, the pointer came from a box that nothing else owns.
        // Readers have preemption off, so none is left after a wait that began later.
        let reclaim = || unsafe { KBox::from_raw(check.check.as_ptr()) };
        check.since.is_over(quiesced).then(reclaim)
    }

    fn with_check(&self, _off: &preempt::Guard, job: &mut dyn FnMut(Option<&StackCheck>)) {
        // Acquire: pairs with the exchange in `publish_check`.
        let check = STACK_CHECK.load(Acquire);
        // SAFETY: Preemption is off, and a stack check that was taken back is freed or changed only
        // after a wait for all CPUs.
        job(unsafe { check.as_ref() });
    }
}

impl Log for Linux {
    fn debug(&self, message: DebugMessage<'_, KernelTask>) {
        crate::debug::print(message);
    }
}

/// Moves a task on its way to user mode or in the idle loop.
///
/// # Safety
///
/// `task` exists throughout the call. It is the current task or can't run.
#[export]
pub(crate) unsafe extern "C" fn klp_update_patch_state(task: *mut bindings::task_struct) {
    let off = preempt::disable_notrace();
    // SAFETY: The task exists throughout the call, and the reference is not used after that.
    if let Some(task) = unsafe { task_from_raw(task) } {
        if SHARED.update(task, &off) {
            // Of these two places, only the idle loop is passed by tasks with this flag.
            let way = match flags(task) & bindings::PF_IDLE {
                0 => Way::Exit,
                _ => Way::Idle,
            };
            transition::moved(&Linux, task, way);
        }
    }
}

/// Gives a child the pending flag and the state of its parent.
///
/// # Safety
///
/// `child` is being forked by the current task, and `tasklist_lock` is held for writing.
#[export]
pub(crate) unsafe extern "C" fn klp_copy_process(child: *mut bindings::task_struct) {
    // Holding `tasklist_lock` for writing is not enough: on `PREEMPT_RT` it is a sleeping lock, and
    // its holder may be preempted. An attempt that walks the tasks without the lock would then find
    // the parent off its CPU. It could move the parent between the reads of its flag and its state.
    let off = preempt::disable_notrace();
    // SAFETY: `copy_process()` has made the child, which exists at least until this returns.
    if let Some(child) = unsafe { task_from_raw(child) } {
        SHARED.copy::<KernelTask>(current!(), child, &off);
    }
}

/// Tries to move the current task while it is being scheduled away.
///
/// # Safety
///
/// The current task is in `__schedule()`, with preemption off.
#[export]
pub(crate) unsafe extern "C" fn __klp_sched_try_switch() {
    // Check this before the guard below, which turns preemption off in any case.
    warn_on_once!(preempt::preemptible());
    if is_initialized() {
        let off = preempt::disable_notrace();
        transition::switch_if_pending(&Linux, current!(), &off, Way::Scheduler);
    }
}
