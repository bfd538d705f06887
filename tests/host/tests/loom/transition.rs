// SPDX-License-Identifier: GPL-2.0

//! The core against a task on another CPU.
//!
//! The administrator's CPU runs the core's own operations. The task calls the function and passes
//! the places where it may be moved. Each call has to reach the version of the task's universe.

use crate::explore;
use crate::machine::{patch, replacement, About, Cpu, FUNCTION};
use kernel::print;
use livepatch_core::registry::Core;
use livepatch_core::task::{State, Task, Tasks};
use livepatch_core::transition::{Counts, Way};
use loom::thread;

/// The administrator, which holds the core's lock.
struct Admin {
    cpu: Cpu,
    others: Vec<Cpu>,
    core: Core<Cpu>,
}

impl Admin {
    fn enable(&mut self, number: usize, about: About) {
        let patch = patch(number, about).expect("memory");
        self.core.enable(&self.cpu, patch).expect("enabled");
    }

    /// Disables a patch, or reverses its transition.
    fn set_enabled(&mut self, number: usize, enabled: bool) {
        let result = self.core.set_enabled(&self.cpu, number, enabled);
        result.expect("as it was not");
    }

    fn load_module(&mut self) {
        let result = self.core.module_coming(&self.cpu, 0, b"module");
        result.expect("it is patched");
    }

    /// Runs the retry, if the core has asked for one.
    fn retry(&mut self) {
        if self.cpu.take_retry() {
            self.core.retry(&self.cpu);
        }
    }

    /// Checks that every task has a state exactly during a transition, and that those which have
    /// not moved are pending.
    fn check(&self) {
        let target = self.cpu.shared().target();
        for task in self.cpu.tasks() {
            let in_transition = target != State::Idle;
            assert_eq!(task.state() != State::Idle, in_transition, "a state");
            assert_eq!(task.is_pending(), task.state() != target, "pending");
        }
    }

    /// Returns the counts of the oldest patch's last transition.
    fn counts(&self) -> Option<Counts> {
        self.core.patches().first()?.last_counts().cloned()
    }

    /// Ends the transition: the tasks on the other CPUs leave the kernel, and the core retries.
    fn settle(&mut self) {
        for cpu in &self.others {
            cpu.leave_kernel();
        }
        self.retry();
        assert_eq!(self.cpu.shared().target(), State::Idle, "it does not end");
        self.check();
    }

    /// Enables a patch and ends its transition.
    fn install(&mut self, number: usize, about: About) {
        self.enable(number, about);
        self.settle();
    }
}

/// A task, and the results that it may expect.
struct Follower {
    cpu: Cpu,
    universe: State,
    old: usize,
    new: usize,
}

impl Follower {
    fn expected(&self) -> usize {
        match self.universe {
            State::Patched => self.new,
            _ => self.old,
        }
    }

    fn call(&mut self) {
        assert_eq!(self.cpu.call(), self.expected(), "in {:?}", self.universe);
    }

    /// Learns whether the task has been moved, from its state at a place where that may happen.
    fn learn(&mut self, state: State) {
        if state != State::Idle {
            self.universe = state;
        }
    }

    /// Learns whether the task has been moved by another CPU.
    fn look(&mut self) {
        self.learn(self.cpu.state());
    }

    fn leave_kernel(&mut self) {
        let state = self.cpu.leave_kernel();
        self.learn(state);
    }

    fn schedule(&mut self) {
        let state = self.cpu.schedule();
        self.learn(state);
    }

    /// Calls the function, and is switched away from inside it.
    fn sleep_inside(&mut self) {
        let expected = self.expected();
        let cpu = self.cpu.clone();
        assert_eq!(
            cpu.call_and(|| {
                cpu.schedule();
            }),
            expected
        );
        let before = self.universe;
        self.look();
        assert_eq!(self.universe, before, "moved inside the function");
    }

    /// Preempts the task, which another CPU may move meanwhile.
    fn preempted(&mut self) {
        self.cpu.preempt();
        self.look();
    }

    /// Puts the task to sleep, where the core may move it.
    fn sleep(&mut self) {
        self.cpu.sleep();
        self.look();
    }
}

/// One scenario. Each execution starts on a machine of its own.
struct Scenario {
    name: &'static str,
    preemptions: usize,
    /// The administrator's CPU, the task's CPU, and others that do nothing.
    cpus: usize,
    /// What the administrator has done before the task starts.
    given: fn(&mut Admin),
    /// What the administrator does while the task runs.
    does: fn(&mut Admin),
    /// The universe that the task starts in, and the results of its calls in either universe.
    universe: State,
    old: usize,
    new: usize,
    /// What the task does.
    task: fn(&mut Follower),
    /// Whether the last CPU looks at the task at the same time.
    look: bool,
    /// The address that calls reach in the end.
    end: usize,
}

impl Scenario {
    fn explore(self) {
        explore(self.name, self.preemptions, move || self.run());
    }

    fn run(&self) {
        print::take();
        let mut others = Cpu::machine(self.cpus);
        let mut admin = Admin {
            cpu: others.remove(0),
            others,
            core: Core::new(),
        };
        (self.given)(&mut admin);
        let mut follower = Follower {
            cpu: admin.others[0].clone(),
            universe: self.universe,
            old: self.old,
            new: self.new,
        };
        let task = self.task;
        let thread = thread::spawn(move || task(&mut follower));
        let look = self.look.then(|| {
            let (at, cpu) = (admin.others[0].clone(), admin.others[1].clone());
            thread::spawn(move || cpu.look(&at))
        });
        (self.does)(&mut admin);
        thread.join().unwrap();
        look.into_iter().for_each(|look| look.join().unwrap());
        admin.check();
        admin.settle();
        assert_eq!(admin.others[0].call(), self.end, "in the end");
        assert_eq!(print::take_warnings(), 0, "the core warned");
    }
}

/// The last task moves while an attempt is looking. Either that attempt ends the transition, or the
/// next one comes at once. Another task has exited, so the attempt before waits for a move that
/// never comes.
#[test]
fn the_last_move_is_not_missed() {
    explore("attempt, the last task moves", 4, || {
        print::take();
        let mut others = Cpu::machine(3);
        let mut admin = Admin {
            cpu: others.remove(0),
            others,
            core: Core::new(),
        };
        admin.enable(0, About::Function);
        admin.others[1].exit();
        let task = admin.others[0].clone();
        let thread = thread::spawn(move || {
            task.leave_kernel();
        });
        admin.retry();
        thread.join().unwrap();
        let ended = admin.cpu.shared().target() == State::Idle;
        assert!(ended || admin.cpu.is_in_a_hurry(), "nobody knows");
    });
}

/// Whichever way the task takes, and whenever the attempts come: it moves once, and is counted once.
#[test]
fn every_move_is_counted() {
    let ways: [(&str, fn(&Cpu)); 2] = [
        ("counts, task leaves the kernel", |cpu| {
            cpu.leave_kernel();
        }),
        ("counts, task sleeps", Cpu::sleep),
    ];
    for (name, way) in ways {
        explore(name, 2, move || {
            print::take();
            let mut others = Cpu::machine(2);
            let mut admin = Admin {
                cpu: others.remove(0),
                others,
                core: Core::new(),
            };
            let task = admin.others[0].clone();
            let thread = thread::spawn(move || way(&task));
            admin.enable(0, About::Function);
            admin.retry();
            thread.join().unwrap();
            admin.settle();
            let counts = admin.counts().expect("it has ended");
            let moves = Way::ALL.map(|way| counts.moves(way));
            assert_eq!(moves.iter().sum::<usize>(), 1, "{moves:?}");
        });
    }
}

const OLD: usize = replacement(0);
const NEW: usize = replacement(1);

/// Enables a patch on top of another one.
const ENABLE: Scenario = Scenario {
    name: "enable",
    preemptions: 2,
    cpus: 2,
    given: |admin| admin.install(0, About::Function),
    does: |admin| admin.enable(1, About::Function),
    universe: State::Unpatched,
    old: OLD,
    new: NEW,
    task: |task| {
        task.call();
        task.leave_kernel();
        task.call();
    },
    look: false,
    end: NEW,
};

/// Disables the upper of two patches.
const DISABLE: Scenario = Scenario {
    name: "disable",
    given: |admin| {
        admin.install(0, About::Function);
        admin.install(1, About::Function);
    },
    does: |admin| admin.set_enabled(1, false),
    universe: State::Patched,
    end: OLD,
    ..ENABLE
};

/// Reverses the transition of a patch that is being enabled.
const REVERSE: Scenario = Scenario {
    name: "reverse",
    given: |admin| {
        admin.install(0, About::Function);
        admin.enable(1, About::Function);
    },
    does: |admin| admin.set_enabled(1, false),
    end: OLD,
    ..ENABLE
};

macro_rules! scenarios {
    ($($test:ident: $name:literal, $base:ident { $($field:ident: $value:expr),* $(,)? })*) => {$(
        #[test]
        fn $test() {
            #[allow(clippy::needless_update)]
            let scenario = Scenario { name: $name, $($field: $value,)* ..$base };
            scenario.explore();
        }
    )*};
}

scenarios! {
    enable: "enable, task leaves the kernel", ENABLE {}
    enable_first: "enable the first patch", ENABLE {
        given: |_| (),
        old: FUNCTION,
    }
    enable_in_scheduler: "enable, task is scheduled away", ENABLE {
        task: |task| {
            task.schedule();
            task.call();
        },
    }
    enable_inside: "enable, task is scheduled away inside the function", ENABLE {
        task: |task| task.sleep_inside(),
    }
    // The last CPU keeps the transition from ending: without a state, a task can't tell in which
    // direction it has ended.
    enable_asleep: "enable, task sleeps", ENABLE {
        cpus: 3,
        task: |task| {
            task.sleep();
            task.call();
        },
    }
    enable_preempted: "enable, task is preempted and looked at", ENABLE {
        cpus: 3,
        look: true,
        task: |task| {
            task.preempted();
            task.call();
        },
    }
    enable_to_the_end: "end of enabling", ENABLE {
        given: |admin| {
            admin.install(0, About::Function);
            admin.enable(1, About::Function);
        },
        does: Admin::retry,
        task: |task| {
            task.leave_kernel();
            task.call();
        },
    }
    // The task has moved, so the version that it has is the old one of the next transition.
    enable_the_next: "end of enabling, and the next patch", ENABLE {
        given: |admin| {
            admin.install(0, About::Function);
            admin.enable(1, About::Function);
            admin.others[0].leave_kernel();
        },
        does: |admin| {
            admin.retry();
            admin.enable(2, About::Function);
        },
        universe: State::Patched,
        task: Follower::call,
        end: replacement(2),
    }
    disable: "disable, task leaves the kernel", DISABLE {}
    disable_last: "disable the last patch", DISABLE {
        given: |admin| admin.install(1, About::Function),
        old: FUNCTION,
        end: FUNCTION,
    }
    disable_in_scheduler: "disable, task is scheduled away", DISABLE {
        task: |task| {
            task.schedule();
            task.call();
        },
    }
    disable_to_the_end: "end of disabling", DISABLE {
        given: |admin| {
            admin.install(0, About::Function);
            admin.install(1, About::Function);
            admin.set_enabled(1, false);
        },
        does: Admin::retry,
        task: |task| {
            task.leave_kernel();
            task.call();
        },
    }
    reverse: "reverse, task leaves the kernel", REVERSE {
        task: |task| {
            task.leave_kernel();
            task.call();
        },
    }
    reverse_in_scheduler: "reverse, task is scheduled away", REVERSE {
        task: |task| {
            task.schedule();
            task.call();
        },
    }
    reverse_preempted: "reverse, task is preempted and looked at", REVERSE {
        cpus: 3,
        look: true,
        task: |task| {
            task.preempted();
            task.call();
        },
    }
    end_preempted: "end of enabling, task is preempted and looked at", ENABLE {
        cpus: 3,
        look: true,
        given: |admin| {
            admin.install(0, About::Function);
            admin.enable(1, About::Function);
            admin.others[1].leave_kernel();
        },
        does: Admin::retry,
        task: |task| {
            task.preempted();
            task.leave_kernel();
            // True even after the transition has ended, when no task has a state any more.
            task.universe = State::Patched;
            task.call();
        },
    }
    reverse_twice: "reverse twice, task leaves the kernel", REVERSE {
        does: |admin| {
            admin.set_enabled(1, false);
            admin.set_enabled(1, true);
        },
        task: Follower::leave_kernel,
        end: NEW,
    }
    force: "force, task leaves the kernel", REVERSE {
        does: |admin| admin.core.force_transition(&admin.cpu, 1).expect("in transition"),
        task: Follower::leave_kernel,
        end: NEW,
    }
    replace: "replace, task leaves the kernel", ENABLE {
        does: |admin| {
            admin.enable(1, About::Nothing);
            admin.retry();
        },
        new: FUNCTION,
        end: FUNCTION,
    }
    nothing_there: "enable a patch of a module that is not loaded", ENABLE {
        does: |admin| admin.enable(1, About::Module),
        task: Follower::leave_kernel,
        end: OLD,
    }
    nothing_there_any_more: "disable a patch of a module that is not loaded", DISABLE {
        given: |admin| admin.install(1, About::Module),
        task: Follower::leave_kernel,
        end: FUNCTION,
    }
    module_comes: "a module comes, task is scheduled away", ENABLE {
        given: |admin| admin.enable(1, About::Module),
        does: Admin::load_module,
        task: Follower::schedule,
    }
    fork_while_enabling: "enable, task forks", ENABLE {
        task: |task| {
            task.leave_kernel();
            task.cpu.fork();
        },
    }
    // The last CPU keeps the transition from ending.
    fork_for_long: "enable, task forks, another does not move", ENABLE {
        cpus: 3,
        task: |task| task.cpu.fork(),
    }
    fork_to_the_end: "end of enabling, task forks", ENABLE {
        given: |admin| {
            admin.install(0, About::Function);
            admin.enable(1, About::Function);
        },
        does: Admin::retry,
        task: |task| task.cpu.fork(),
    }
    fork_while_reversing: "reverse, task forks", REVERSE {
        task: |task| {
            task.leave_kernel();
            task.cpu.fork();
        },
    }
}
