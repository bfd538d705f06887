// SPDX-License-Identifier: GPL-2.0

//! Tasks, their stacks, CPUs and the scheduler.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/stacktrace.h`](srctree/include/linux/stacktrace.h),
//! [`include/linux/livepatch_sched.h`](srctree/include/linux/livepatch_sched.h).

use crate::livepatch_arch::{
    Backend,
    Native, //
};
use crate::livepatch_core::{
    stack::StackCheck,
    symbol::Text,
    transition::{
        self,
        Check,
        Debug,
        Shared,
        State,
        Task,
        Tasks,
        Unreliable, //
    }, //
};
use crate::{
    descriptors::FunctionRef,
    is_initialized,
    Linux,
    Shared as Static,
    KLP_MUTEX, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    cpu::nr_cpu_ids,
    prelude::*,
    sync::atomic::{
        atomic_load,
        atomic_store,
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    }, //
    types::NotThreadSafe, //
};

/// What is shared with those who move tasks without the core's lock.
static SHARED: Shared = Shared::new();

/// The stack check in use, null where there is none. Who reads it has preemption off; who replaces
/// it holds the core's lock and frees the old one after [`Tasks::synchronize`].
static STACK_CHECK: Atomic<*mut StackCheck<FunctionRef>> = Atomic::new(core::ptr::null_mut());

/// Work that retries the transition.
static RETRY: Static<MaybeUninit<bindings::delayed_work>> = Static::new(MaybeUninit::uninit());

/// Turns on the call of `__klp_sched_try_switch()` in the scheduler.
#[no_mangle]
static klp_sched_try_switch_key: Static<MaybeUninit<bindings::static_key_false>> =
    Static::new(MaybeUninit::zeroed());

/// What [`crate::livepatch_early_init`] has to do for tasks.
///
/// # Safety
///
/// Called once, before anyone schedules the work.
pub(crate) unsafe fn init() {
    // SAFETY: The caller promises that nobody uses the work yet.
    unsafe { bindings::init_delayed_work(RETRY.get().cast(), Some(retry)) };
}

/// # Safety
///
/// Called by the workqueue.
unsafe extern "C" fn retry(_work: *mut bindings::work_struct) {
    KLP_MUTEX.lock().retry(&Linux);
}

/// A task that exists for as long as the reference is used: the current one, one met under
/// `tasklist_lock`, an idle one, or one that the caller of the C ABI vouches for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef(NonNull<bindings::task_struct>);

impl TaskRef {
    /// # Safety
    ///
    /// The task exists for as long as the reference is used.
    pub(crate) unsafe fn from_raw(task: *mut bindings::task_struct) -> Option<Self> {
        NonNull::new(task).map(Self)
    }

    /// The current task.
    pub(crate) fn current() -> Self {
        // SAFETY: There always is one, and `NonNull` holds.
        Self(unsafe { NonNull::new_unchecked(bindings::get_current()) })
    }

    fn as_ptr(&self) -> *mut bindings::task_struct {
        self.0.as_ptr()
    }

    /// The process identifier.
    pub(crate) fn pid(&self) -> i32 {
        // SAFETY: The task exists; the field does not change.
        unsafe { (*self.as_ptr()).pid }
    }

    /// A copy of the name (`comm`).
    pub(crate) fn name(&self) -> TaskName {
        // SAFETY: The task exists. This only takes the address of the field.
        let name = unsafe { &raw const (*self.as_ptr()).comm };
        let mut copy = TaskName([0; bindings::TASK_COMM_LEN as usize]);
        for (index, byte) in copy.0.iter_mut().enumerate() {
            // SAFETY: The index is inside of both arrays, which have the same length. The task may
            // change its name meanwhile, so that the copy is a mixture of two: the read is volatile,
            // and takes any value.
            *byte = unsafe { name.cast::<u8>().add(index).read_volatile() };
        }
        copy
    }
}

/// A copy of a task's name: bytes up to a NUL, or all of them.
pub(crate) struct TaskName([u8; bindings::TASK_COMM_LEN as usize]);

impl TaskName {
    /// The name without a NUL.
    pub(crate) fn text(&self) -> Text<'_> {
        Text(self.0.split(|&byte| byte == 0).next().unwrap_or_default())
    }
}

impl Task for TaskRef {
    type PreemptionOff = PreemptionOff;

    fn state(&self) -> State {
        // SAFETY: The task exists; the field is only accessed atomically while it is shared.
        let raw = unsafe { atomic_load(&raw mut (*self.as_ptr()).patch_state, Relaxed) };
        State::from_raw(raw)
    }

    fn set_state(&self, state: State) {
        // SAFETY: As above.
        unsafe {
            atomic_store(
                &raw mut (*self.as_ptr()).patch_state,
                state.to_raw(),
                Relaxed,
            )
        };
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

    fn stays_in_kernel(&self) -> bool {
        // SAFETY: The task exists. It may change its flags meanwhile, so that the read is volatile. These
        // two are set before anyone can find it; where a kthread becomes a program, either answer will do.
        let flags = unsafe { (&raw const (*self.as_ptr()).flags).read_volatile() };
        flags & (bindings::PF_KTHREAD | bindings::PF_USER_WORKER) != 0
    }
}

/// The state of the current task, for the handler.
pub(crate) fn current_state() -> State {
    TaskRef::current().state()
}

/// Preemption is off while this lives. Not traced, so that it can be used on the way to user mode.
///
/// It stays with the task that made it, and so on that task's CPU.
pub(crate) struct PreemptionOff(NotThreadSafe);

impl PreemptionOff {
    fn new() -> Self {
        // SAFETY: Undone when dropped.
        unsafe { bindings::preempt_disable_notrace() };
        Self(NotThreadSafe)
    }
}

impl Drop for PreemptionOff {
    fn drop(&mut self) {
        // SAFETY: Pairs with `new`.
        unsafe { bindings::preempt_enable_notrace() };
    }
}

/// Whether the current task can be preempted, as far as the kernel counts that.
fn preemptible() -> bool {
    // SAFETY: Only reads the state of this CPU.
    unsafe { bindings::preemptible() }
}

/// Calls the closure that `job` points to with a task.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&TaskRef)` that nobody else uses, and the task exists.
unsafe extern "C" fn visit(task: *mut bindings::task_struct, job: *mut c_void) {
    // SAFETY: As the caller promises.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&TaskRef)>() };
    // SAFETY: As the caller promises.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        job(&task);
    }
}

/// Calls the closure that `job` points to.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut()` that nobody else uses.
unsafe extern "C" fn pinned(_task: *mut bindings::task_struct, job: *mut c_void) -> c_int {
    // SAFETY: As the caller promises.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut()>() };
    job();
    0
}

/// How many words of a stack are looked at in one go.
const WORDS: usize = 64;

/// Calls the closure that `job` points to with copies of the words on a stack, a few at a time.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&[usize])` that nobody else uses, and `words` to that many words
/// of memory. Others may write to them meanwhile.
unsafe extern "C" fn words(words: *const c_ulong, count: c_ulong, job: *mut c_void) {
    // SAFETY: The caller promises that nobody else uses the closure.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&[usize])>() };
    // Such a stack is not to be judged by its words: see `stack`.
    #[cfg(CONFIG_BPF_JIT)]
    // SAFETY: The caller promises that there are so many words.
    if unsafe { bindings::livepatch_finds_trampoline(words, count) } {
        return;
    }
    let mut copy = [0usize; WORDS];
    let mut from = 0;
    while from < count {
        let length = WORDS.min(count.saturating_sub(from));
        let (part, _) = copy.split_at_mut_checked(length).unwrap_or_default();
        for (index, word) in part.iter_mut().enumerate() {
            // SAFETY: `from + index` is less than `count`. Whoever was handed the address of something
            // on that stack may write there now, so that this cannot be a reference; a word is read as
            // a whole.
            *word = unsafe { words.add(from).add(index).read_volatile() };
        }
        job(part);
        from = from.saturating_add(length);
    }
}

/// Work that does nothing: that it ran says that the CPU has scheduled.
///
/// # Safety
///
/// Called by the workqueue.
unsafe extern "C" fn nothing(_work: *mut bindings::work_struct) {}

/// Likewise.
///
/// # Safety
///
/// Called by the workqueue.
unsafe extern "C" fn nothing_either(_argument: *mut c_void) -> c_long {
    0
}

/// The idle task of `cpu`, if that CPU is possible.
fn idle_task(cpu: u32) -> Option<TaskRef> {
    // SAFETY: Takes any number below `nr_cpu_ids()`.
    if !unsafe { bindings::cpu_possible(cpu) } {
        return None;
    }
    // SAFETY: Idle tasks exist for ever.
    unsafe { TaskRef::from_raw(bindings::idle_task(cpu as c_int)) }
}

impl Tasks for Linux {
    type Task = TaskRef;

    fn shared(&self) -> &Shared {
        &SHARED
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&TaskRef)) {
        let mut each: &mut dyn FnMut(&TaskRef) = each;
        // SAFETY: The pointer is valid during the call; `visit` gets tasks under `tasklist_lock`.
        unsafe { bindings::livepatch_for_each_thread(Some(visit), (&raw mut each).cast()) };
    }

    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&TaskRef)) {
        let mut number: c_int = 1;
        loop {
            // SAFETY: The pointer is valid during the call. The task comes with a reference.
            let task = unsafe { bindings::livepatch_get_next_thread(&raw mut number) };
            // SAFETY: The reference is ours until it is given back below.
            let Some(thread) = (unsafe { TaskRef::from_raw(task) }) else {
                return;
            };
            each(&thread);
            // SAFETY: The reference from above, which nobody uses any more.
            unsafe { bindings::put_task_struct(task) };
        }
    }

    fn for_each_idle(&self, each: &mut dyn FnMut(&TaskRef)) {
        (0..nr_cpu_ids())
            .filter_map(idle_task)
            .for_each(|task| each(&task));
    }

    fn for_each_cpu(&self, each: &mut dyn FnMut(&TaskRef, u32, bool)) {
        // SAFETY: Undone below; we may sleep here.
        unsafe { bindings::cpus_read_lock() };
        for cpu in 0..nr_cpu_ids() {
            if let Some(task) = idle_task(cpu) {
                // SAFETY: Takes any number below `nr_cpu_ids()`.
                let online = unsafe { bindings::cpu_online(cpu) };
                each(&task, cpu, online);
            }
        }
        // SAFETY: Pairs with the lock above.
        unsafe { bindings::cpus_read_unlock() };
    }

    fn wake_idle(&self, cpu: u32) {
        // SAFETY: The CPU is online and stays so, see `for_each_cpu`.
        unsafe { bindings::wake_up_if_idle(cpu as c_int) };
    }

    fn has_reliable_stacks(&self) -> bool {
        cfg!(CONFIG_STACKTRACE) && Native::RELIABLE_STACK
    }

    fn pin(&self, task: &TaskRef, job: &mut dyn FnMut()) {
        if *task == TaskRef::current() {
            let _guard = PreemptionOff::new();
            return job();
        }
        let mut job: &mut dyn FnMut() = job;
        // SAFETY: The task exists, and the pointer is valid during the call.
        unsafe { bindings::task_call_func(task.as_ptr(), Some(pinned), (&raw mut job).cast()) };
    }

    fn runs_elsewhere(&self, task: &TaskRef) -> bool {
        // SAFETY: The task exists.
        *task != TaskRef::current() && unsafe { bindings::task_curr(task.as_ptr()) } != 0
    }

    fn take_off_cpu(&self, task: &TaskRef) {
        // SAFETY: The task exists, so that the function can take a reference; the core's lock is held.
        unsafe { bindings::livepatch_take_off_cpu(task.as_ptr()) };
    }

    fn words(&self, task: &TaskRef, job: &mut dyn FnMut(&[usize])) {
        let Some(offset) = Native::SLEEPING_STACK_POINTER else {
            return;
        };
        if *task == TaskRef::current() {
            return;
        }
        let mut job: &mut dyn FnMut(&[usize]) = job;
        // SAFETY: The task exists and is pinned, so that its stack pointer stays as it is; the host
        // tests hold the offset against the kernel's headers. `job` is valid during the call.
        unsafe {
            let thread = &raw const (*task.as_ptr()).thread;
            let pointer = thread.byte_add(offset).cast::<c_ulong>().read();
            bindings::livepatch_with_sleeping_stack(
                task.as_ptr(),
                pointer,
                Some(words),
                (&raw mut job).cast(),
            );
        }
    }

    fn stack(&self, task: &TaskRef, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable> {
        // The per-CPU buffer must not be shared or migrated from.
        if warn_on_once!(preemptible()) {
            return Err(Unreliable);
        }
        let mut length = 0;
        // SAFETY: Preemption is off, so that this CPU's buffer is used by nobody else: neither
        // interrupts nor `job` come here. It has that length and is initialized, as all per-CPU
        // memory is.
        let entries = unsafe {
            let buffer = bindings::livepatch_stack_buffer(&raw mut length);
            core::slice::from_raw_parts_mut(buffer, length as usize)
        };
        #[cfg(all(CONFIG_STACKTRACE, CONFIG_HAVE_RELIABLE_STACKTRACE))]
        // SAFETY: The task exists and is current or pinned; the buffer has room for that many.
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
        // On 64-bit machines, `c_ulong` is the kernel crate's `usize`.
        let entries = entries.get_mut(..count).ok_or(Unreliable)?;
        // Whoever is in a BPF trampoline is inside the function that it was made for.
        #[cfg(CONFIG_BPF_JIT)]
        // SAFETY: There are so many entries, and nobody else uses them.
        unsafe {
            bindings::livepatch_name_traced(entries.as_mut_ptr(), entries.len())
        };
        job(entries);
        Ok(())
    }

    fn signal(&self, task: &TaskRef) {
        let task = task.as_ptr();
        // SAFETY: The task exists, since this is called under `tasklist_lock`.
        unsafe {
            if (*task).flags & bindings::PF_KTHREAD != 0 {
                // A kthread takes no signals, but may leave its sleep.
                bindings::wake_up_state(task, bindings::TASK_INTERRUPTIBLE);
            } else {
                bindings::set_notify_signal(task);
            }
        }
    }

    fn synchronize(&self) {
        // SAFETY: We may sleep here.
        if unsafe { bindings::schedule_on_each_cpu(Some(nothing)) } != 0 {
            // No memory for a work item per CPU: one on the stack will do for all.
            //
            // SAFETY: As above.
            unsafe { bindings::livepatch_work_on_each_cpu(Some(nothing_either)) };
        }
    }

    fn switch_in_scheduler(&self, on: bool) {
        let key = klp_sched_try_switch_key
            .get()
            .cast::<bindings::static_key>();
        // SAFETY: A `struct static_key_false` begins with its key; we may sleep here.
        unsafe {
            if on {
                bindings::static_key_enable(key);
            } else {
                bindings::static_key_disable(key);
            }
        }
    }

    fn now(&self) -> u64 {
        // SAFETY: Only reads a clock, which starts at 0.
        let nanoseconds = unsafe { bindings::ktime_get() };
        nanoseconds as u64 / 1_000_000
    }

    fn retry_later(&self, delay: u64) {
        let jiffies = kernel::time::msecs_to_jiffies(delay as kernel::time::Msecs);
        // SAFETY: `init` made the work ready, since there is a transition.
        unsafe {
            let jiffies = if delay < 1000 {
                jiffies
            } else {
                // With the other timers that don't mind when.
                bindings::round_jiffies_relative(jiffies)
            };
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_percpu_wq,
                RETRY.get().cast(),
                jiffies,
            );
        }
    }

    fn replace_stack_check(&self, check: Option<Check<Self>>) -> Option<Check<Self>> {
        let new = check.map_or(core::ptr::null_mut(), KBox::into_raw);
        // Full: the table is complete before it can be seen.
        let old = STACK_CHECK.xchg(new, Full);
        // SAFETY: A pointer in there came from `into_raw`, and is there once.
        (!old.is_null()).then(|| unsafe { KBox::from_raw(old) })
    }

    fn with_stack_check(&self, job: &mut dyn FnMut(&StackCheck<FunctionRef>)) {
        // Acquire: pairs with the exchange.
        let check = STACK_CHECK.load(Acquire);
        // SAFETY: Preemption is off, and who replaced the table waits for every CPU to schedule
        // before it frees it.
        if let Some(check) = unsafe { check.as_ref() } {
            job(check);
        }
    }

    fn debug(&self, message: Debug<'_, Self>) {
        crate::debug::print(message);
    }
}

/// Moves a task on its way to user mode or in the idle loop.
///
/// # Safety
///
/// `task` is the current task or can't run.
#[export]
pub(crate) unsafe extern "C" fn klp_update_patch_state(task: *mut bindings::task_struct) {
    let off = PreemptionOff::new();
    // SAFETY: The caller vouches for the task.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        SHARED.update(&task, &off);
    }
}

/// Gives a child its parent's part in the transition.
///
/// # Safety
///
/// Called by `copy_process()` with `tasklist_lock` held for writing; `child` is the current task's.
#[export]
pub(crate) unsafe extern "C" fn klp_copy_process(child: *mut bindings::task_struct) {
    // Holding `tasklist_lock` for writing is not enough: on `PREEMPT_RT` it is a sleeping lock, and
    // its holder may be preempted. An attempt that walks over the tasks without it would then find
    // the parent off its CPU, and might move it between the reads of its flag and of its state.
    let off = PreemptionOff::new();
    // SAFETY: `copy_process()` has made the child, which exists at least until this returns.
    if let Some(child) = unsafe { TaskRef::from_raw(child) } {
        SHARED.copy(&TaskRef::current(), &child, &off);
    }
}

/// Tries to move the current task while it is being scheduled away.
///
/// # Safety
///
/// Called by `__schedule()` with preemption off.
#[export]
pub(crate) unsafe extern "C" fn __klp_sched_try_switch() {
    // Said here, since the guard turns preemption off in any case.
    warn_on_once!(preemptible());
    if is_initialized() {
        let off = PreemptionOff::new();
        transition::switch_if_pending(&Linux, &TaskRef::current(), &off);
    }
}

/// Tries to move a task that was taken off its CPU.
///
/// # Safety
///
/// Called by a CPU's stopper, with preemption off and a reference to `task`.
#[no_mangle]
unsafe extern "C" fn livepatch_switch_if_pending(task: *mut bindings::task_struct) {
    let off = PreemptionOff::new();
    // SAFETY: The caller has a reference to the task.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        transition::switch_if_pending(&Linux, &task, &off);
    }
}
