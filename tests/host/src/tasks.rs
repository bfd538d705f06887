// SPDX-License-Identifier: GPL-2.0

//! Tasks and CPUs: who is where, and what the core may ask about it.

use crate::simulation::Simulation;
use kernel::print::{print, Level};
use livepatch_core::stack::StackCheck;
use livepatch_core::transition::{Check, Debug, Shared, State, Stuck, Task, Tasks, Unreliable};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A task's number. Idle tasks are told apart by their CPU.
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
    /// Addresses in the functions that it is in, outermost first.
    pub stack: RefCell<Vec<usize>>,
    /// How often it was nudged.
    pub signals: Cell<usize>,
}

impl SimulatedTask {
    /// A task, asleep, with nothing on its stack.
    pub fn new(id: TaskId, kthread: bool, user: bool) -> Self {
        Self {
            id,
            kthread,
            state: Cell::new(State::Idle),
            pending: Cell::new(false),
            user: Cell::new(user),
            cpu: Cell::new(None),
            reliable: Cell::new(true),
            stack: RefCell::default(),
            signals: Cell::new(0),
        }
    }

    /// Its name and number as messages show them.
    pub fn name(&self) -> String {
        match self.id {
            TaskId::Thread(number) => format!("task{number}:{number}"),
            TaskId::Idle(cpu) => format!("swapper/{cpu}:0"),
        }
    }
}

impl Task for SimulatedTask {
    fn state(&self) -> State {
        self.state.get()
    }

    fn set_state(&self, state: State) {
        self.state.set(state);
    }

    fn is_pending(&self) -> bool {
        self.pending.get()
    }

    fn set_pending(&self) {
        self.pending.set(true);
    }

    fn clear_pending(&self) {
        self.pending.set(false);
    }

    fn test_and_clear_pending(&self) -> bool {
        self.pending.replace(false)
    }
}

/// A CPU: its idle task, and whether it is online.
pub struct Cpu {
    /// The idle task.
    pub idle: Rc<SimulatedTask>,
    /// Whether it is online.
    pub online: Cell<bool>,
    /// Whether it was sent through its idle loop.
    pub woken: Cell<bool>,
}

/// Tasks, CPUs, the scheduler and what is shared with them.
pub struct Machine {
    pub(crate) threads: RefCell<Vec<Rc<SimulatedTask>>>,
    pub(crate) next: Cell<usize>,
    cpus: RefCell<Vec<Rc<Cpu>>>,
    shared: Shared,
    /// On whose behalf the kernel is running.
    pub current: Cell<Option<TaskId>>,
    /// Whether the scheduler tries to move the task it switches away from.
    pub scheduler: Cell<bool>,
    /// Whether a retry was asked for and has not happened.
    pub retry: Cell<bool>,
    /// Whether stacks can be trusted at all.
    pub reliable: Cell<bool>,
    check: RefCell<Option<Rc<Check<Simulation>>>>,
    pub(crate) locked: Cell<bool>,
    pinned: Cell<Option<TaskId>>,
    /// How often the core waited for all CPUs.
    pub synchronizations: Cell<usize>,
    /// The calls that were made.
    pub(crate) calls: RefCell<Vec<CallRecord>>,
}

/// A call that was made: by whom, in which state, and the code that it ran.
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
            retry: Cell::new(false),
            reliable: Cell::new(true),
            check: RefCell::new(None),
            locked: Cell::new(false),
            pinned: Cell::new(None),
            synchronizations: Cell::new(0),
            calls: RefCell::default(),
        }
    }
}

impl Machine {
    /// Adds a CPU, online.
    pub fn add_cpu(&self) -> u32 {
        let mut cpus = self.cpus.borrow_mut();
        let number = u32::try_from(cpus.len()).expect("few CPUs");
        cpus.push(Rc::new(Cpu {
            idle: Rc::new(SimulatedTask::new(TaskId::Idle(number), true, false)),
            online: Cell::new(true),
            woken: Cell::new(false),
        }));
        number
    }

    /// Adds a thread, asleep: a user's in user mode, or a kthread.
    pub fn add_thread(&self, kthread: bool) -> TaskId {
        let id = TaskId::Thread(self.next.replace(self.next.get() + 1));
        let task = SimulatedTask::new(id, kthread, !kthread);
        self.threads.borrow_mut().push(Rc::new(task));
        id
    }

    /// All threads.
    pub fn threads(&self) -> Vec<Rc<SimulatedTask>> {
        self.threads.borrow().clone()
    }

    /// All CPUs.
    pub fn cpus(&self) -> Vec<Rc<Cpu>> {
        self.cpus.borrow().clone()
    }

    /// A CPU.
    pub fn cpu(&self, number: u32) -> Option<Rc<Cpu>> {
        self.cpus.borrow().get(number as usize).cloned()
    }

    /// All tasks, idle ones last.
    pub fn tasks(&self) -> Vec<Rc<SimulatedTask>> {
        let mut tasks = self.threads();
        tasks.extend(self.cpus().iter().map(|cpu| cpu.idle.clone()));
        tasks
    }

    /// The task `id`, if it exists.
    pub fn task(&self, id: TaskId) -> Option<Rc<SimulatedTask>> {
        self.tasks().into_iter().find(|task| task.id == id)
    }

    /// Whether a thread is running on `cpu`.
    pub fn is_busy(&self, cpu: u32) -> bool {
        self.threads()
            .iter()
            .any(|task| task.cpu.get() == Some(cpu))
    }

    /// Whether `task` is running on a CPU; the idle task is where nothing else is.
    pub fn is_running(&self, task: &SimulatedTask) -> bool {
        match task.id {
            TaskId::Thread(_) => task.cpu.get().is_some(),
            TaskId::Idle(number) => self
                .cpu(number)
                .is_some_and(|cpu| cpu.online.get() && !self.is_busy(number)),
        }
    }

    /// Where the tasks are to go.
    pub fn target(&self) -> State {
        self.shared.target()
    }

    /// Whether there is a stack check.
    pub fn has_check(&self) -> bool {
        self.check.borrow().is_some()
    }
}

impl Simulation {
    /// The core is about to sleep: it holds no lock that forbids it.
    pub(crate) fn may_sleep(&self) {
        let machine = &self.machine;
        assert!(!machine.locked.get(), "sleeping under tasklist_lock");
        assert!(
            machine.pinned.get().is_none(),
            "sleeping with a task pinned"
        );
    }
}

impl Tasks for Simulation {
    type Task = SimulatedTask;

    fn shared(&self) -> &Shared {
        &self.machine.shared
    }

    fn for_each_thread(&self, each: &mut dyn FnMut(&SimulatedTask)) {
        self.point();
        assert!(
            !self.machine.locked.replace(true),
            "tasklist_lock is held already"
        );
        for task in self.machine.threads() {
            self.point();
            each(&task);
        }
        self.machine.locked.set(false);
    }

    fn for_each_idle(&self, each: &mut dyn FnMut(&SimulatedTask)) {
        for cpu in self.machine.cpus() {
            self.point();
            each(&cpu.idle);
        }
    }

    fn for_each_cpu(&self, each: &mut dyn FnMut(&SimulatedTask, u32, bool)) {
        for (number, cpu) in (0..).zip(self.machine.cpus()) {
            // No interruption from here on: a CPU could go.
            each(&cpu.idle, number, cpu.online.get());
        }
    }

    fn wake_idle(&self, cpu: u32) {
        if let Some(cpu) = self.machine.cpu(cpu) {
            assert!(cpu.online.get(), "waking a CPU that is off");
            cpu.woken.set(true);
        }
    }

    fn has_reliable_stacks(&self) -> bool {
        self.machine.reliable.get()
    }

    fn pin(&self, task: &SimulatedTask, job: &mut dyn FnMut()) {
        let before = self.machine.pinned.replace(Some(task.id));
        assert!(before.is_none(), "two tasks pinned");
        job();
        self.machine.pinned.set(None);
    }

    fn runs_elsewhere(&self, task: &SimulatedTask) -> bool {
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
        job(&task.stack.borrow());
        Ok(())
    }

    fn signal(&self, task: &SimulatedTask) {
        assert!(self.machine.locked.get(), "the task could be gone");
        task.signals.set(task.signals.get() + 1);
    }

    fn synchronize(&self) {
        self.may_sleep();
        self.point();
        let count = &self.machine.synchronizations;
        count.set(count.get() + 1);
    }

    fn switch_in_scheduler(&self, on: bool) {
        self.may_sleep();
        self.point();
        self.machine.scheduler.set(on);
    }

    fn retry_later(&self) {
        self.machine.retry.set(true);
    }

    fn replace_stack_check(&self, check: Option<Check<Self>>) -> Option<Check<Self>> {
        self.point();
        let old = self.machine.check.replace(check.map(Rc::new))?;
        Some(Rc::into_inner(old).expect("a stack check in use was replaced"))
    }

    fn with_stack_check(&self, job: &mut dyn FnMut(&StackCheck<Self::Function>)) {
        let check = self.machine.check.borrow();
        if let Some(check) = &*check {
            job(check);
        }
    }

    fn debug(&self, message: Debug<'_, Self>) {
        let Debug::Stuck(task, reason) = message else {
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
            Stuck::Inside(function) => print(
                Level::Debug,
                format_args!(
                    "klp_try_switch_task: {name} is sleeping on function {}\n",
                    self.structures.function_name(function)
                ),
            ),
            Stuck::Unchecked => {}
        }
    }
}
