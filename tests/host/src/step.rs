// SPDX-License-Identifier: GPL-2.0

//! Steps: what a task or a CPU does next. Each step is atomic. Apart from the administrator and the
//! module loader, nothing else can happen.

use crate::simulation::Simulation;
use crate::structures::ModuleState;
use crate::tasks::{CallRecord, SimulatedTask, TaskId};
use livepatch_core::task::{Task, Tasks};
use livepatch_core::transition::{moved, switch_if_pending, Way};
use std::rc::Rc;

/// The offset of return addresses in a function in these tests: behind its call of the tracer.
pub const INSIDE: usize = 0x20;

/// The deepest stack that [`Step::Call`] creates.
const DEEPEST: usize = 4;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A thread that is asleep gets a CPU.
    Run(TaskId, u32),
    /// A thread gives up its CPU; the scheduler may move it.
    Sleep(TaskId),
    /// A thread in user mode enters the kernel.
    Enter(TaskId),
    /// A thread in the kernel calls the function at this address.
    Call(TaskId, usize),
    /// A thread returns from its innermost function.
    Return(TaskId),
    /// A thread that is in no function leaves for user mode, which may move it.
    Leave(TaskId),
    /// The idle task of a CPU goes through its loop, which may move it.
    IdleLoop(u32),
    /// A thread in the kernel forks.
    Fork(TaskId),
    /// A thread in the kernel that is in no function exits.
    Exit(TaskId),
    /// A CPU goes online or offline.
    Online(u32, bool),
    /// A CPU takes its running task off for a moment, and looks at the task that it was asked to
    /// look at.
    Look(u32),
}

impl Simulation {
    /// Takes a step. Returns `None` if the step is not possible now; then nothing has happened.
    pub fn step(&self, step: Step) -> Option<()> {
        match step {
            Step::Run(id, number) => {
                let task = self.thread(id)?;
                let free = self.machine.cpu(number)?.online.get() && !self.machine.is_busy(number);
                (task.cpu.get().is_none() && free).then(|| task.cpu.set(Some(number)))
            }
            Step::Sleep(id) => self.sleep(self.running(id)?.as_ref()),
            Step::Enter(id) => {
                let task = self.running(id)?;
                task.user.get().then(|| task.user.set(false))
            }
            Step::Call(id, function) => {
                let task = self.in_kernel(id)?;
                if task.stack.borrow().len() >= DEEPEST || !self.is_callable(function) {
                    return None;
                }
                let code = self.dispatch(&task, function);
                self.machine.calls.borrow_mut().push(CallRecord {
                    task: id,
                    state: task.state(),
                    code,
                });
                // The address is inside the function, like a return address.
                task.stack.borrow_mut().push(code + INSIDE);
                Some(())
            }
            Step::Return(id) => self.running(id)?.stack.borrow_mut().pop().map(|_| ()),
            Step::Leave(id) => {
                let task = self.in_kernel(id)?;
                if task.kthread || !task.stack.borrow().is_empty() {
                    return None;
                }
                self.update(&task, Way::Exit);
                task.user.set(true);
                Some(())
            }
            Step::IdleLoop(number) => {
                let cpu = self.machine.cpu(number)?;
                if !self.machine.is_running(&cpu.idle) {
                    return None;
                }
                cpu.woken.set(false);
                self.update(&cpu.idle, Way::Idle);
                Some(())
            }
            Step::Fork(id) => self.fork(self.in_kernel(id)?.as_ref()),
            Step::Exit(id) => self.exit(self.in_kernel(id)?.as_ref()),
            Step::Online(number, online) => {
                let cpu = self.machine.cpu(number)?;
                if self.machine.is_busy(number) || cpu.online.get() == online {
                    return None;
                }
                cpu.woken.set(false);
                // The stopper must have finished before it parks.
                let _ = self.look(number);
                cpu.online.set(online);
                Some(())
            }
            Step::Look(number) => self.look(number),
        }
    }

    /// Whether tasks can call the function at `address`. A module's function can be called only
    /// while the module is live.
    fn is_callable(&self, address: usize) -> bool {
        let Some(function) = self.code.at(address) else {
            return false;
        };
        let module = function
            .object
            .and_then(|name| self.structures.module(&name));
        module.is_none_or(|(_, module)| module.state == ModuleState::Live)
    }

    fn thread(&self, id: TaskId) -> Option<Rc<SimulatedTask>> {
        let threads = self.machine.threads.borrow();
        threads.iter().find(|task| task.id == id).cloned()
    }

    fn running(&self, id: TaskId) -> Option<Rc<SimulatedTask>> {
        self.thread(id).filter(|task| task.cpu.get().is_some())
    }

    fn in_kernel(&self, id: TaskId) -> Option<Rc<SimulatedTask>> {
        self.running(id).filter(|task| !task.user.get())
    }

    fn update(&self, task: &SimulatedTask, way: Way) {
        let off = self.preemption_off();
        if self.shared().update(task, &off) {
            moved(self, task, way);
        }
    }

    fn sleep(&self, task: &SimulatedTask) -> Option<()> {
        if self.machine.scheduler.get() {
            let before = self.machine.current.replace(Some(task.id));
            switch_if_pending(self, task, &self.preemption_off(), Way::Scheduler);
            self.machine.current.set(before);
        }
        task.cpu.set(None);
        Some(())
    }

    fn look(&self, number: u32) -> Option<()> {
        let machine = &self.machine;
        let task = machine.cpu(number)?.look.take()?;
        let threads = machine.threads();
        let here = threads.iter().find(|task| task.cpu.get() == Some(number));
        here.inspect(|here| here.cpu.set(None));
        let before = machine.current.take();
        switch_if_pending(self, &*task, &self.preemption_off(), Way::Stopper);
        machine.current.set(before);
        here.inspect(|here| here.cpu.set(Some(number)));
        Some(())
    }

    fn fork(&self, parent: &SimulatedTask) -> Option<()> {
        let machine = &self.machine;
        if machine.locked.get() {
            return None;
        }
        let id = TaskId::Thread(machine.next.replace(machine.next.get() + 1));
        let child = SimulatedTask::new(id, parent.kthread, false);
        // The flag came with the copy of the parent, maybe long before.
        child.set_pending();
        self.shared().copy(parent, &child, &self.preemption_off());
        machine.threads.borrow_mut().push(Rc::new(child));
        Some(())
    }

    fn exit(&self, task: &SimulatedTask) -> Option<()> {
        if self.machine.locked.get() || !task.stack.borrow().is_empty() {
            return None;
        }
        let id = task.id;
        task.cpu.set(None);
        self.machine
            .threads
            .borrow_mut()
            .retain(|task| task.id != id);
        Some(())
    }
}
