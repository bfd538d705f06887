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

/// State shared with the code that moves tasks without the core's lock.
static SHARED: Shared = Shared::new();

/// The stack check in use, or null if there is none. Readers have preemption off. A writer holds
/// the core's lock and frees the old stack check after [`Tasks::synchronize`].
static STACK_CHECK: Atomic<*mut StackCheck<FunctionRef>> = Atomic::new(core::ptr::null_mut());

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

/// A task that exists for as long as the reference is used.
///
/// It is the current task, a task visited under `tasklist_lock` or with a reference to it, an idle
/// task, or a task that was passed to a function of the C ABI.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef(NonNull<bindings::task_struct>);

impl TaskRef {
    /// # Safety
    ///
    /// `task` is null, or the task exists for as long as the reference is used.
    pub(crate) unsafe fn from_raw(task: *mut bindings::task_struct) -> Option<Self> {
        NonNull::new(task).map(Self)
    }

    /// The current task.
    pub(crate) fn current() -> Self {
        // SAFETY: There always is a current task, so the pointer is not null.
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
            // SAFETY: The index is within both arrays, which have the same length. The task may
            // change its name meanwhile, so the copy may be a mixture of two names. The read is
            // volatile, and any value will do.
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
        // SAFETY: The task exists. The field is only accessed atomically while it is shared.
        let raw = unsafe { atomic_load(&raw mut (*self.as_ptr()).patch_state, Relaxed) };
        State::from_raw(raw)
    }

    fn set_state(&self, state: State) {
        // SAFETY: The task exists. The field is only accessed atomically while it is shared.
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
        // SAFETY: The task exists. It may change its flags meanwhile, so the read is volatile.
        // These two flags are set before the task can be found. Where a kthread becomes a program,
        // either answer will do.
        let flags = unsafe { (&raw const (*self.as_ptr()).flags).read_volatile() };
        flags & (bindings::PF_KTHREAD | bindings::PF_USER_WORKER) != 0
    }
}

/// The state of the current task, for the handler.
pub(crate) fn current_state() -> State {
    TaskRef::current().state()
}

/// Keeps preemption off while it lives. It is not traced, so the exit to user mode can use it.
///
/// It cannot be sent to another task, and its task cannot leave the CPU.
pub(crate) struct PreemptionOff(NotThreadSafe);

impl PreemptionOff {
    fn new() -> Self {
        // SAFETY: `drop` turns preemption on again.
        unsafe { bindings::preempt_disable_notrace() };
        Self(NotThreadSafe)
    }
}

impl Drop for PreemptionOff {
    fn drop(&mut self) {
        // SAFETY: Pairs with the `preempt_disable_notrace()` in `new`.
        unsafe { bindings::preempt_enable_notrace() };
    }
}

/// Whether the current task can be preempted. Always false where the kernel does not count this.
fn preemptible() -> bool {
    // SAFETY: `preemptible()` only reads the state of this CPU.
    unsafe { bindings::preemptible() }
}

/// Calls the closure that `job` points to with a task.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&TaskRef)` that nothing else uses during the call. The task
/// exists throughout the call.
unsafe extern "C" fn visit(task: *mut bindings::task_struct, job: *mut c_void) {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&TaskRef)>() };
    // SAFETY: The task exists throughout the call, and the reference is not used after that.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        job(&task);
    }
}

/// Calls the closure that `job` points to.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut()` that nothing else uses during the call.
unsafe extern "C" fn pinned(_task: *mut bindings::task_struct, job: *mut c_void) -> c_int {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut()>() };
    job();
    0
}

/// How many words of a stack are copied and checked at a time.
const WORDS: usize = 64;

/// Calls the closure that `job` points to with copies of the words on a stack, a few at a time.
///
/// # Safety
///
/// `job` points to a `&mut dyn FnMut(&[usize])` that nothing else uses during the call. `words`
/// points to `count` words of memory that can be read. Other CPUs may write to them meanwhile.
unsafe extern "C" fn words(words: *const c_ulong, count: c_ulong, job: *mut c_void) {
    // SAFETY: `job` points to a closure of this type, and nothing else uses it during the call.
    let job = unsafe { &mut *job.cast::<&mut dyn FnMut(&[usize])>() };
    // The words of a stack that points into a BPF trampoline do not tell enough: see `stack`.
    #[cfg(CONFIG_BPF_JIT)]
    // SAFETY: `words` points to `count` words.
    if unsafe { bindings::livepatch_finds_trampoline(words, count) } {
        return;
    }
    let mut copy = [0usize; WORDS];
    let mut from = 0;
    while from < count {
        let length = WORDS.min(count.saturating_sub(from));
        let (part, _) = copy.split_at_mut_checked(length).unwrap_or_default();
        for (index, word) in part.iter_mut().enumerate() {
            // SAFETY: `from + index` is less than `count`. Another CPU may hold the address of a
            // variable on that stack and write to it now, so this cannot be a reference. The
            // volatile read takes a word as a whole.
            *word = unsafe { words.add(from).add(index).read_volatile() };
        }
        job(part);
        from = from.saturating_add(length);
    }
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

/// The idle task of `cpu`, if that CPU is possible.
fn idle_task(cpu: u32) -> Option<TaskRef> {
    // SAFETY: `cpu` is below `nr_cpu_ids()`, which is all that `cpu_possible()` needs.
    if !unsafe { bindings::cpu_possible(cpu) } {
        return None;
    }
    // SAFETY: The CPU is possible, and idle tasks are never freed.
    unsafe { TaskRef::from_raw(bindings::idle_task(cpu as c_int)) }
}

impl Tasks for Linux {
    type Task = TaskRef;

    fn shared(&self) -> &Shared {
        &SHARED
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&TaskRef)) {
        let mut each: &mut dyn FnMut(&TaskRef) = each;
        // SAFETY: `each` is valid during the call, and nothing else uses it. `visit` gets each task
        // under `tasklist_lock`, so the task exists.
        unsafe { bindings::livepatch_visit_threads(Some(visit), (&raw mut each).cast()) };
    }

    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&TaskRef)) {
        let mut number: c_int = 1;
        loop {
            // SAFETY: `number` can be written during the call.
            let task = unsafe { bindings::livepatch_get_next_thread(&raw mut number) };
            // SAFETY: `livepatch_get_next_thread()` took a reference to the task, which is only put
            // below.
            let Some(thread) = (unsafe { TaskRef::from_raw(task) }) else {
                return;
            };
            each(&thread);
            // SAFETY: `livepatch_get_next_thread()` took the reference, and the task is not used
            // any more.
            unsafe { bindings::put_task_struct(task) };
        }
    }

    fn for_each_idle(&self, each: &mut dyn FnMut(&TaskRef)) {
        (0..nr_cpu_ids())
            .filter_map(idle_task)
            .for_each(|task| each(&task));
    }

    fn for_each_cpu(&self, each: &mut dyn FnMut(&TaskRef, u32, bool)) {
        // SAFETY: The context may sleep, and the lock is released below.
        unsafe { bindings::cpus_read_lock() };
        for cpu in 0..nr_cpu_ids() {
            if let Some(task) = idle_task(cpu) {
                // SAFETY: `cpu` is below `nr_cpu_ids()`, which is all that `cpu_online()` needs.
                let online = unsafe { bindings::cpu_online(cpu) };
                each(&task, cpu, online);
            }
        }
        // SAFETY: Pairs with the `cpus_read_lock()` above.
        unsafe { bindings::cpus_read_unlock() };
    }

    fn wake_idle(&self, cpu: u32) {
        // SAFETY: The CPU is online and stays online: `for_each_cpu` holds `cpus_read_lock()`.
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
        // SAFETY: The task exists. `job` is valid during the call, and nothing else uses it.
        unsafe { bindings::task_call_func(task.as_ptr(), Some(pinned), (&raw mut job).cast()) };
    }

    fn runs_elsewhere(&self, task: &TaskRef) -> bool {
        // SAFETY: The task exists.
        *task != TaskRef::current() && unsafe { bindings::task_curr(task.as_ptr()) } != 0
    }

    fn take_off_cpu(&self, task: &TaskRef) {
        // SAFETY: The task exists, so a reference to it can be taken. The core's lock is held.
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
        // SAFETY: The task exists and is pinned, so its stack pointer does not change. The host
        // tests check the offset against the kernel's headers. `job` is valid during the call, and
        // nothing else uses it.
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
        // SAFETY: Preemption is off, and neither interrupts nor `job` get here, so nothing else
        // uses this CPU's buffer. The buffer has `length` entries. It is initialized, as all
        // per-CPU memory is.
        let entries = unsafe {
            let buffer = bindings::livepatch_stack_buffer(&raw mut length);
            core::slice::from_raw_parts_mut(buffer, length as usize)
        };
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
        // The kernel crate's `c_ulong` is `usize`, so these are the words that `job` takes.
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

    fn signal(&self, task: &TaskRef) {
        let task = task.as_ptr();
        // SAFETY: `tasklist_lock` is held, so the task exists.
        unsafe {
            if (*task).flags & bindings::PF_KTHREAD != 0 {
                // A kthread takes no signals, but can be woken from an interruptible sleep.
                bindings::wake_up_state(task, bindings::TASK_INTERRUPTIBLE);
            } else {
                bindings::set_notify_signal(task);
            }
        }
    }

    fn synchronize(&self) {
        // SAFETY: The context may sleep, and `nothing` has no requirements.
        if unsafe { bindings::schedule_on_each_cpu(Some(nothing)) } != 0 {
            // There is no memory for a work item per CPU. One on the stack serves the CPUs in turn.
            //
            // SAFETY: The context may sleep, and `nothing_either` has no requirements.
            unsafe { bindings::livepatch_work_on_each_cpu(Some(nothing_either)) };
        }
    }

    fn switch_in_scheduler(&self, on: bool) {
        let key = klp_sched_try_switch_key
            .get()
            .cast::<bindings::static_key>();
        // SAFETY: A `struct static_key_false` begins with its key, and the context may sleep.
        unsafe {
            if on {
                bindings::static_key_enable(key);
            } else {
                bindings::static_key_disable(key);
            }
        }
    }

    fn now(&self) -> u64 {
        // SAFETY: `ktime_get()` only reads a clock. That clock starts at 0.
        let nanoseconds = unsafe { bindings::ktime_get() };
        nanoseconds as u64 / 1_000_000
    }

    fn retry_later(&self, delay: u64) {
        let jiffies = kernel::time::msecs_to_jiffies(delay as kernel::time::Msecs);
        // SAFETY: `init` initialized the work at boot, before there could be a transition.
        unsafe {
            let jiffies = if delay < 1000 {
                jiffies
            } else {
                // A delay this long need not be exact: it may expire together with other timers.
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
        // Full: pairs with the acquire in `with_stack_check`. The stack check is complete before it
        // can be seen.
        let old = STACK_CHECK.xchg(new, Full);
        // SAFETY: Every pointer in `STACK_CHECK` came from `KBox::into_raw()`. The exchange took
        // this one out, so it becomes a box only once.
        (!old.is_null()).then(|| unsafe { KBox::from_raw(old) })
    }

    fn with_stack_check(&self, job: &mut dyn FnMut(&StackCheck<FunctionRef>)) {
        // Acquire: pairs with the exchange in `replace_stack_check`.
        let check = STACK_CHECK.load(Acquire);
        // SAFETY: Preemption is off, and a stack check that was replaced is freed only after every
        // CPU has scheduled.
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
/// `task` exists throughout the call. It is the current task or can't run.
#[export]
pub(crate) unsafe extern "C" fn klp_update_patch_state(task: *mut bindings::task_struct) {
    let off = PreemptionOff::new();
    // SAFETY: The task exists throughout the call, and the reference is not used after that.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        SHARED.update(&task, &off);
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
/// The current task is in `__schedule()`, with preemption off.
#[export]
pub(crate) unsafe extern "C" fn __klp_sched_try_switch() {
    // Check this before the guard below, which turns preemption off in any case.
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
/// The caller is a CPU's stopper, with preemption off. It holds a reference to `task`.
#[no_mangle]
unsafe extern "C" fn livepatch_switch_if_pending(task: *mut bindings::task_struct) {
    let off = PreemptionOff::new();
    // SAFETY: The caller holds a reference to the task throughout the call.
    if let Some(task) = unsafe { TaskRef::from_raw(task) } {
        transition::switch_if_pending(&Linux, &task, &off);
    }
}
