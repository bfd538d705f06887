// SPDX-License-Identifier: GPL-2.0

//! Tasks and CPUs: where each task is, and what the core may ask about it.

use crate::script::{self, access, Access, Answer};
use crate::simulation::Simulation;
use kernel::print::{print, Level};
use livepatch_core::stack::{Check, Checks, StackCheck};
use livepatch_core::task::{Shared, State, Task, Tasks, Unreliable};
use livepatch_core::transition::{
    Busy, Clock, DebugMessage, Delays, Early, Identify, Identity, Log, Scheduler, Stuck, Words,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A task's number. Idle tasks are identified by their CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskId {
    /// A thread.
    Thread(usize),
    /// The idle task of a CPU.
    Idle(u32),
}

/// A task.
pub struct SimulatedTask {
    /// Its number.
    pub id: TaskId,
    /// Its name (`comm`).
    pub comm: RefCell<Vec<u8>>,
    /// The number of its process.
    pub process: Cell<usize>,
    /// Whether it never leaves the kernel.
    pub kthread: bool,
    state: Cell<State>,
    pending: Cell<bool>,
    /// Whether it is in user mode. Its kernel stack is empty then.
    pub user: Cell<bool>,
    /// The CPU that it is running on.
    pub cpu: Cell<Option<u32>>,
    /// Whether its stack can be trusted.
    pub reliable: Cell<bool>,
    /// Addresses in the functions that the task is in, outermost first.
    pub stack: RefCell<Vec<usize>>,
    /// The other words on the stack of a task that sleeps in a way that leaves all return addresses
    /// there. `None`: it does not sleep in that way.
    pub left_over: RefCell<Option<Vec<usize>>>,
    /// The number of signals that the core sent to it.
    pub signals: Cell<usize>,
    /// Whether the core has sent it through the kernel.
    pub kicked: Cell<bool>,
}

impl SimulatedTask {
    /// Creates a sleeping task with an empty stack.
    pub fn new(id: TaskId, kthread: bool, user: bool) -> Self {
        let (comm, process) = match id {
            TaskId::Thread(number) => (format!("task{number}"), number),
            TaskId::Idle(cpu) => (format!("swapper/{cpu}"), 0),
        };
        Self {
            id,
            comm: RefCell::new(comm.into_bytes()),
            process: Cell::new(process),
            kthread,
            state: Cell::new(State::Idle),
            pending: Cell::new(false),
            user: Cell::new(user),
            cpu: Cell::new(None),
            reliable: Cell::new(true),
            stack: RefCell::default(),
            left_over: RefCell::default(),
            signals: Cell::new(0),
            kicked: Cell::new(false),
        }
    }

    /// Returns its name and number as messages show them.
    pub fn name(&self) -> String {
        match self.id {
            TaskId::Thread(number) => format!("task{number}:{number}"),
            TaskId::Idle(cpu) => format!("swapper/{cpu}:0"),
        }
    }
}

/// Keeps preemption off while it lives: counts the sections that have it off.
pub struct PreemptionOff(Rc<Cell<usize>>);

impl Drop for PreemptionOff {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Task for SimulatedTask {
    type PreemptionOff = PreemptionOff;

    fn state(&self) -> State {
        match access(Access::State(self.id)) {
            Answer::State(state) => state,
            _ => self.state.get(),
        }
    }

    fn set_state(&self, state: State) {
        access(Access::SetState(self.id, state));
        self.state.set(state);
    }

    fn is_pending(&self) -> bool {
        match access(Access::IsPending(self.id)) {
            Answer::Flag(pending) => pending,
            _ => self.pending.get(),
        }
    }

    fn set_pending(&self) {
        access(Access::SetPending(self.id));
        self.pending.set(true);
    }

    fn clear_pending(&self) {
        access(Access::ClearPending(self.id));
        self.pending.set(false);
    }

    fn test_and_clear_pending(&self) -> bool {
        match access(Access::TestAndClearPending(self.id)) {
            Answer::Flag(pending) => pending,
            _ => self.pending.replace(false),
        }
    }
}

/// Evidence that all CPUs have scheduled: the number of the wait, counted from 1.
pub struct Quiesced(usize);

impl Quiesced {
    /// Whether the wait began after `waits` others had ended.
    pub(crate) fn is_after(&self, waits: usize) -> bool {
        self.0 > waits
    }
}

/// A stack check that was taken back.
pub struct Retired {
    check: Check,
    /// How often the core had waited before.
    waits: usize,
}

/// A CPU: its idle task, and whether it is online.
pub struct Cpu {
    /// The idle task.
    pub idle: Rc<SimulatedTask>,
    /// Whether it is online.
    pub online: Cell<bool>,
    /// Whether it was sent through its idle loop.
    pub woken: Cell<bool>,
    /// The task that its stopper is to look at. The task stays in memory until then, even if it has
    /// exited.
    pub look: RefCell<Option<Rc<SimulatedTask>>>,
}

/// Tasks, CPUs, the scheduler and the state they share with the core.
pub struct Machine {
    pub(crate) threads: RefCell<Vec<Rc<SimulatedTask>>>,
    pub(crate) next: Cell<usize>,
    cpus: RefCell<Vec<Rc<Cpu>>>,
    shared: Shared,
    /// The task on whose behalf the kernel is running.
    pub current: Cell<Option<TaskId>>,
    /// Whether the scheduler tries to move the task it switches away from.
    pub scheduler: Cell<bool>,
    /// The time in milliseconds.
    pub clock: Cell<u64>,
    /// The time that a look at a task takes, in milliseconds.
    pub effort: Cell<u64>,
    /// The delay in milliseconds of the retry that was asked for and has not run yet.
    pub retry: Cell<Option<u64>>,
    /// How often a retry was asked to come at once.
    pub hurried: Cell<usize>,
    /// How soon attempts and signals come.
    pub delays: Cell<Delays>,
    /// Whether stacks can be trusted at all.
    pub reliable: Cell<bool>,
    check: RefCell<Option<Rc<Check>>>,
    /// The number of sections that have preemption off.
    sections: Rc<Cell<usize>>,
    /// Whether the list of threads is locked.
    pub locked: Cell<bool>,
    /// Whether CPUs are kept from coming and going.
    pub cpus_locked: Cell<bool>,
    /// The task that is pinned.
    pub pinned: Cell<Option<TaskId>>,
    /// The contents of the stack checks that were replaced, by number, oldest first.
    pub replaced: RefCell<Vec<usize>>,
    /// A script's answer for the pinned task: whether it runs elsewhere, and its stack.
    scripted: RefCell<Option<(bool, Vec<usize>)>>,
    /// The number of times that the core waited for all CPUs. Tests may reset it.
    pub synchronizations: Cell<usize>,
    /// The same number, which is never reset.
    waits: Cell<usize>,
    /// The calls of functions so far.
    pub(crate) calls: RefCell<Vec<CallRecord>>,
}

/// A call of a function: the task, its state, and the code that ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRecord {
    pub(crate) task: TaskId,
    pub(crate) state: State,
    pub(crate) code: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            threads: RefCell::default(),
            next: Cell::new(1),
            cpus: RefCell::default(),
            shared: Shared::new(),
            current: Cell::new(None),
            scheduler: Cell::new(false),
            clock: Cell::new(0),
            effort: Cell::new(0),
            retry: Cell::new(None),
            hurried: Cell::new(0),
            delays: Cell::new(Delays {
                attempt: 10,
                signal: 20,
            }),
            reliable: Cell::new(true),
            check: RefCell::new(None),
            sections: Rc::default(),
            locked: Cell::new(false),
            cpus_locked: Cell::new(false),
            pinned: Cell::new(None),
            replaced: RefCell::default(),
            scripted: RefCell::new(None),
            synchronizations: Cell::new(0),
            waits: Cell::new(0),
            calls: RefCell::default(),
        }
    }
}

impl Machine {
    /// Adds a CPU, which is online.
    pub fn add_cpu(&self) -> u32 {
        let mut cpus = self.cpus.borrow_mut();
        let number = u32::try_from(cpus.len()).expect("few CPUs");
        cpus.push(Rc::new(Cpu {
            idle: Rc::new(SimulatedTask::new(TaskId::Idle(number), true, false)),
            online: Cell::new(true),
            woken: Cell::new(false),
            look: RefCell::default(),
        }));
        number
    }

    /// Adds a sleeping thread: a kthread, or a user's thread in user mode.
    pub fn add_thread(&self, kthread: bool) -> TaskId {
        let id = TaskId::Thread(self.next.replace(self.next.get() + 1));
        let task = SimulatedTask::new(id, kthread, !kthread);
        self.threads.borrow_mut().push(Rc::new(task));
        id
    }

    /// Returns all threads.
    pub fn threads(&self) -> Vec<Rc<SimulatedTask>> {
        self.threads.borrow().clone()
    }

    /// Returns all CPUs.
    pub fn cpus(&self) -> Vec<Rc<Cpu>> {
        self.cpus.borrow().clone()
    }

    /// Returns a CPU.
    pub fn cpu(&self, number: u32) -> Option<Rc<Cpu>> {
        self.cpus.borrow().get(number as usize).cloned()
    }

    /// Returns all tasks. The idle tasks come last.
    pub fn tasks(&self) -> Vec<Rc<SimulatedTask>> {
        let mut tasks = self.threads();
        tasks.extend(self.cpus().iter().map(|cpu| cpu.idle.clone()));
        tasks
    }

    /// Returns the task `id`, if it exists.
    pub fn task(&self, id: TaskId) -> Option<Rc<SimulatedTask>> {
        self.tasks().into_iter().find(|task| task.id == id)
    }

    /// Whether a thread is running on `cpu`.
    pub fn is_busy(&self, cpu: u32) -> bool {
        self.threads()
            .iter()
            .any(|task| task.cpu.get() == Some(cpu))
    }

    /// Whether `task` is running on a CPU. The idle task runs where nothing else does.
    pub fn is_running(&self, task: &SimulatedTask) -> bool {
        match task.id {
            TaskId::Thread(_) => task.cpu.get().is_some(),
            TaskId::Idle(number) => self
                .cpu(number)
                .is_some_and(|cpu| cpu.online.get() && !self.is_busy(number)),
        }
    }

    /// Returns the target of the transition.
    pub fn target(&self) -> State {
        self.shared.target()
    }

    /// Returns how often the core has waited for all CPUs.
    pub(crate) fn waits(&self) -> usize {
        self.waits.get()
    }

    /// Returns the stack check.
    pub fn check(&self) -> Option<Rc<Check>> {
        self.check.borrow().clone()
    }
}

impl Simulation {
    /// Checks that no lock forbids sleeping, since the core may sleep here.
    pub(crate) fn may_sleep(&self) {
        let machine = &self.machine;
        assert!(!machine.locked.get(), "sleeping under tasklist_lock");
        assert!(
            machine.pinned.get().is_none(),
            "sleeping with a task pinned"
        );
        assert_eq!(machine.sections.get(), 0, "sleeping with preemption off");
    }
}

/// Returns the threads or CPUs that exist, a bit for each. Without a script, all bits are set.
fn present(question: Access) -> u32 {
    match access(question) {
        Answer::Present(present) => present,
        _ => u32::MAX,
    }
}

/// Whether a thread's bit is set. Worlds with more threads than bits have no script.
fn is_present(present: u32, number: usize) -> bool {
    number >= u32::BITS as usize || present & 1 << number != 0
}

impl Tasks for Simulation {
    type Task = SimulatedTask;
    type Pinned = SimulatedTask;

    fn shared(&self) -> &Shared {
        &self.machine.shared
    }

    fn preemption_off(&self) -> PreemptionOff {
        let sections = &self.machine.sections;
        sections.set(sections.get() + 1);
        PreemptionOff(sections.clone())
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&SimulatedTask)) {
        self.point();
        let present = present(Access::Threads);
        assert!(
            !self.machine.locked.replace(true),
            "tasklist_lock is held already"
        );
        for (number, task) in self.machine.threads().iter().enumerate() {
            if is_present(present, number) {
                self.point();
                each(task);
            }
        }
        self.machine.locked.set(false);
    }

    fn for_each_thread_unlocked(&self, each: &mut dyn FnMut(&SimulatedTask)) {
        assert!(!self.machine.locked.get(), "tasklist_lock is held");
        // Tasks that appear from here on are left out: the worst case.
        let before = present(Access::ThreadsUnlocked);
        for (number, task) in self.machine.threads().iter().enumerate() {
            self.point();
            if is_present(before & present(Access::ThreadsUnlocked), number) {
                each(task);
            }
        }
    }

    fn for_each_idle(&self, each: &mut dyn FnMut(&SimulatedTask)) {
        for cpu in self.machine.cpus() {
            self.point();
            each(&cpu.idle);
        }
    }

    fn for_each_cpu(&self, each: &mut dyn FnMut(&SimulatedTask, u32, bool)) {
        let present = present(Access::Cpus);
        self.machine.cpus_locked.set(true);
        for (number, cpu) in (0..).zip(self.machine.cpus()) {
            // No interruption from here on, since it could take a CPU away.
            let online = cpu.online.get() && present & 1 << number != 0;
            each(&cpu.idle, number, online);
        }
        self.machine.cpus_locked.set(false);
    }

    fn has_reliable_stacks(&self) -> bool {
        self.machine.reliable.get()
    }

    fn pin(&self, task: &SimulatedTask, job: &mut dyn FnMut(&SimulatedTask)) {
        if let Answer::Pinned(elsewhere, stack) = access(Access::Pin(task.id)) {
            self.machine.scripted.replace(Some((elsewhere, stack)));
        }
        let before = self.machine.pinned.replace(Some(task.id));
        assert!(before.is_none(), "two tasks pinned");
        let clock = &self.machine.clock;
        clock.set(clock.get() + self.machine.effort.get());
        job(task);
        self.machine.scripted.replace(None);
        self.machine.pinned.set(None);
    }

    fn runs_elsewhere(&self, task: &SimulatedTask) -> bool {
        if let Some((elsewhere, _)) = &*self.machine.scripted.borrow() {
            return *elsewhere;
        }
        self.machine.is_running(task) && self.machine.current.get() != Some(task.id)
    }

    fn stack(&self, task: &SimulatedTask, job: &mut dyn FnMut(&[usize])) -> Result<(), Unreliable> {
        assert_eq!(
            self.machine.pinned.get(),
            Some(task.id),
            "the task is not pinned"
        );
        assert!(!self.runs_elsewhere(task), "the stack of a running task");
        if !task.reliable.get() {
            return Err(Unreliable);
        }
        access(Access::UseCheck);
        match &*self.machine.scripted.borrow() {
            Some((_, stack)) => job(stack),
            None => job(&task.stack.borrow()),
        }
        Ok(())
    }

    fn signal(&self, task: &SimulatedTask) {
        assert!(self.machine.locked.get(), "the task could be gone");
        task.signals.set(task.signals.get() + 1);
    }
}

impl Scheduler for Simulation {
    type Quiesced = Quiesced;

    fn synchronize(&self) -> Quiesced {
        self.may_sleep();
        self.point();
        access(Access::Synchronize);
        for count in [&self.machine.synchronizations, &self.machine.waits] {
            count.set(count.get() + 1);
        }
        Quiesced(self.machine.waits())
    }

    fn switch_in_scheduler(&self, on: bool) {
        self.may_sleep();
        self.point();
        access(Access::Scheduler(on));
        self.machine.scheduler.set(on);
    }

    fn wake_idle(&self, cpu: u32) {
        if let Some(cpu) = self.machine.cpu(cpu) {
            assert!(cpu.online.get(), "waking a CPU that is off");
            cpu.woken.set(true);
        }
    }
}

impl Clock for Simulation {
    const DEADLINES: bool = true;

    fn retry_later(&self, delay: u64) {
        assert!((1..=1000).contains(&delay), "a retry in {delay} ms");
        self.machine.retry.set(Some(delay));
    }
}

impl Words for Simulation {
    const READS: bool = true;

    fn words(&self, task: &SimulatedTask, job: &mut dyn FnMut(&[usize])) {
        assert_eq!(
            self.machine.pinned.get(),
            Some(task.id),
            "the task is not pinned"
        );
        if script::is_installed() || self.machine.current.get() == Some(task.id) {
            return;
        }
        if let Some(left_over) = &*task.left_over.borrow() {
            job(&[&left_over[..], &task.stack.borrow()].concat());
        }
    }
}

impl Busy for Simulation {
    const TAKES_OFF: bool = true;

    fn stays_in_kernel(&self, task: &SimulatedTask) -> bool {
        task.kthread
    }

    fn take_off_cpu(&self, task: &SimulatedTask) {
        self.point();
        let machine = &self.machine;
        assert!(machine.pinned.get().is_none(), "its CPU is locked");
        let cpu = task.cpu.get().and_then(|number| machine.cpu(number));
        let Some(cpu) = cpu else {
            return;
        };
        let known = machine.threads();
        let known = known.iter().find(|known| known.id == task.id);
        cpu.look
            .borrow_mut()
            .get_or_insert_with(|| known.expect("the task was met just now").clone());
    }
}

impl Early for Simulation {
    const EARLY: bool = true;

    type Instant = u64;

    fn now(&self) -> u64 {
        self.machine.clock.get()
    }

    fn elapsed(&self, since: &u64) -> u64 {
        self.machine.clock.get() - since
    }

    fn delays(&self) -> Delays {
        self.machine.delays.get()
    }

    fn retry_now(&self) {
        if let Some(delay) = self.machine.retry.get() {
            self.machine.hurried.set(self.machine.hurried.get() + 1);
            self.machine.retry.set(Some(delay.min(1)));
        }
    }

    fn kick(&self, task: &SimulatedTask) {
        task.kicked.set(true);
    }
}

impl Identify for Simulation {
    fn identity(&self, task: &SimulatedTask) -> Identity {
        let comm = task.comm.borrow();
        let mut name = Identity::default().name;
        name[..comm.len()].copy_from_slice(&comm);
        let number = |number: usize| i32::try_from(number).expect("few tasks");
        Identity {
            process: number(task.process.get()),
            thread: match task.id {
                TaskId::Thread(thread) => number(thread),
                TaskId::Idle(_) => 0,
            },
            name,
            kthread: task.kthread,
        }
    }

    fn cpu(&self, task: &SimulatedTask) -> u32 {
        match task.id {
            TaskId::Thread(_) => task.cpu.get().unwrap_or(0),
            TaskId::Idle(cpu) => cpu,
        }
    }

    fn first_address(&self, task: &SimulatedTask) -> Option<usize> {
        assert_eq!(
            self.machine.pinned.get(),
            Some(task.id),
            "the task is not pinned"
        );
        assert!(!self.runs_elsewhere(task), "the stack of a running task");
        task.stack.borrow().last().copied()
    }

    fn with_symbol(&self, address: usize, job: &mut dyn FnMut(&[u8])) {
        if let Some(code) = self.code.at(address) {
            job(code.name.as_bytes());
        }
    }
}

impl Checks for Simulation {
    type Retired = Retired;

    fn publish_check(&self, check: Option<Check>) -> Option<Retired> {
        self.point();
        access(Access::ReplaceCheck);
        let old = self.machine.check.replace(check.map(Rc::new))?;
        self.machine.replaced.borrow_mut().push(old.content());
        Some(Retired {
            check: Rc::into_inner(old).expect("a stack check in use was replaced"),
            waits: self.machine.waits(),
        })
    }

    fn reclaim_check(&self, retired: Retired, quiesced: &Quiesced) -> Option<Check> {
        assert!(
            quiesced.is_after(retired.waits),
            "a stack check was reclaimed that may still be in use"
        );
        Some(retired.check)
    }

    fn with_check(&self, _off: &PreemptionOff, job: &mut dyn FnMut(Option<&StackCheck>)) {
        let check = match access(Access::Check) {
            Answer::Check(check) => check,
            _ => self.machine.check(),
        };
        job(check.as_deref().map(|check| &**check));
    }
}

impl Log for Simulation {
    fn debug(&self, message: DebugMessage<'_, SimulatedTask>) {
        if script::is_installed() {
            // Under a script, tasks have no names, but the stack check is still in use.
            if let DebugMessage::Stuck(_, Stuck::Inside(..)) = message {
                access(Access::Name);
            }
            return;
        }
        let DebugMessage::Stuck(task, reason) = message else {
            return print(Level::Debug, format_args!("{message}\n"));
        };
        let name = task.name();
        match reason {
            Stuck::Running => print(
                Level::Debug,
                format_args!("klp_try_switch_task: {name} is running\n"),
            ),
            Stuck::Unreliable => print(
                Level::Debug,
                format_args!("klp_try_switch_task: {name} has an unreliable stack\n"),
            ),
            Stuck::Inside(function, _) => print(
                Level::Debug,
                format_args!("klp_try_switch_task: {name} is sleeping on function {function}\n"),
            ),
            Stuck::Unchecked => {}
        }
    }
}
