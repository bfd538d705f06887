// SPDX-License-Identifier: GPL-2.0

//! Blockers: the tasks that a transition waits for, and what keeps each of them.
//!
//! The search looks at tasks as an attempt does, and moves none of them. Its caller holds the
//! core's lock, so the transition does not end or turn round meanwhile. Tasks still move by
//! themselves, and may be forked: the search misses a task that was forked during the search.
//!
//! The C core has no counterpart. Its debug messages name these tasks.

use super::{
    super::{
        patch::{
            Function,
            Object,
            Patch, //
        },
        symbol::object_text,
        task::{
            State,
            Task,
            Tasks, //
        },
        Kernel, //
    },
    look,
    Stuck,
    Transition, //
};
use kernel::{
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};

/// Maximum length of a task's name, including its NUL (`TASK_COMM_LEN`).
const TASK_COMM_LEN: usize = 16;

/// Which task a task is, for an administrator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The number of its process (`task->tgid`). 0 is an idle task.
    pub process: i32,
    /// Its own number (`task->pid`). 0 is an idle task.
    pub thread: i32,
    /// Its name (`task->comm`): any bytes up to a NUL, or all of them.
    pub name: [u8; TASK_COMM_LEN],
    /// Whether it is a kthread.
    pub kthread: bool,
}

impl Identity {
    /// Returns the name without its NUL.
    pub fn name(&self) -> &[u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or(&[])
    }
}

/// What the core asks about a task that has not moved.
pub trait Identify: Tasks {
    /// Returns which task this is.
    fn identity(&self, _task: &Self::Task) -> Identity {
        Identity::default()
    }
    /// Returns the number of the CPU that `task` is running on, or ran on last.
    fn cpu(&self, _task: &Self::Task) -> u32 {
        0
    }
    /// Returns the first address on the stack of a task whose stack is not reliable. This is for an
    /// administrator to read, and nothing rests on it. `None` if there is no such address.
    fn first_address(&self, _task: &Self::Pinned) -> Option<usize> {
        None
    }
    /// Calls `job` with the name of the code at `address`, if the code has one. Never sleeps.
    fn with_symbol(&self, _address: usize, _job: &mut dyn FnMut(&[u8])) {}
}

/// What keeps a task from moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is running on this CPU.
    Running(u32),
    /// It is not running and is inside the function with this number.
    Asleep(usize),
    /// Its stack is not reliable. The first address on the stack is this one.
    Unreliable(Option<usize>),
    /// Its stack can't be checked on this kernel. It moves when it leaves the kernel.
    Unchecked,
    /// Nothing. It has not run since the transition started, and the next attempt moves it.
    Ready,
}

impl Reason {
    /// Finds out what keeps `task` from moving to `target`.
    fn of<K: Kernel>(kernel: &K, task: &K::Task, target: State) -> Self {
        if !kernel.has_reliable_stacks() {
            return if kernel.runs_elsewhere(task) {
                Self::Running(kernel.cpu(task))
            } else {
                Self::Unchecked
            };
        }
        let mut reason = Self::Unchecked;
        kernel.with_check(&kernel.preemption_off(), &mut |check| {
            kernel.pin(task, &mut |pinned| {
                reason = match look(kernel, task, pinned, check, target) {
                    Ok(()) => Self::Ready,
                    Err(Stuck::Running) => Self::Running(kernel.cpu(task)),
                    Err(Stuck::Unreliable) => Self::Unreliable(kernel.first_address(pinned)),
                    Err(Stuck::Inside(_, function)) => Self::Asleep(function),
                    Err(Stuck::Unchecked) => Self::Unchecked,
                };
            });
        });
        reason
    }
}

/// A task that has not moved.
#[derive(Clone, Copy)]
pub(super) struct Blocker {
    pub(super) task: Identity,
    pub(super) reason: Reason,
}

/// The tasks that a transition waits for.
pub(super) struct Blockers {
    /// The first of them, in the order of their numbers, with the idle tasks last.
    pub(super) list: KVec<Blocker>,
    /// The number of all of them.
    pub(super) left: usize,
    /// How many are listed at most.
    most: usize,
    target: State,
}

impl Blockers {
    /// Searches for the tasks that have not moved, and looks at `most` of them. If there is no
    /// memory for the list, the tasks are only counted. Without a transition there are none.
    pub(super) fn find<K: Kernel>(
        kernel: &K,
        transition: Option<&Transition<K>>,
        most: usize,
    ) -> Self {
        let Some(transition) = transition else {
            return Self {
                list: KVec::new(),
                left: 0,
                most: 0,
                target: State::Idle,
            };
        };
        let target = transition.direction.target();
        let list = KVec::with_capacity(most, GFP_KERNEL);
        let mut found = Self {
            most: if list.is_ok() { most } else { 0 },
            list: list.unwrap_or_default(),
            left: 0,
            target,
        };
        // Do not hold the lock that forks wait for: see the attempt.
        kernel.for_each_thread_unlocked(&mut |task| {
            found.add(kernel, task, || Reason::of(kernel, task, target));
        });
        kernel.for_each_cpu(&mut |task, _, online| {
            found.add(kernel, task, || match online {
                true => Reason::of(kernel, task, target),
                // The next attempt moves the idle task of an offline CPU wherever it is.
                false => Reason::Ready,
            });
        });
        found
    }

    /// Adds `task` if it has not moved.
    fn add<K: Kernel>(&mut self, kernel: &K, task: &K::Task, reason: impl FnOnce() -> Reason) {
        if task.state() == self.target {
            return;
        }
        if self.list.len() < self.most {
            let reason = reason();
            // The task may have moved during the look.
            if task.state() == self.target {
                return;
            }
            let task = kernel.identity(task);
            let pushed = self.list.push_within_capacity(Blocker { task, reason });
            // The list has room for `most` tasks.
            warn_on_once!(pushed.is_err());
        }
        self.left = self.left.saturating_add(1);
    }

    /// Returns the number of tasks that are not listed.
    pub(super) fn more(&self) -> usize {
        self.left.saturating_sub(self.list.len())
    }
}

/// Returns the object and the function with that number.
pub(super) fn function<K: Kernel>(
    patch: &Patch<K>,
    number: usize,
) -> Option<(&Object<K>, &Function<K>)> {
    let mut objects = patch.objects.iter();
    let object = objects.find(|object| object.numbers().contains(&number))?;
    let index = number.checked_sub(object.numbers().start)?;
    Some((object, object.functions.get(index)?))
}

/// Bytes as printable ASCII: every other byte, a quotation mark and a backslash are escaped.
pub(super) struct Escaped<'a>(pub(super) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => {
                    f.write_char('\\')?;
                    f.write_char(char::from(byte))?;
                }
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => f.write_fmt(fmt!("\\x{:02x}", byte))?,
            }
        }
        Ok(())
    }
}

/// The name of the code at an address, `?` if it has none.
pub(super) struct Symbol<'a, K>(pub(super) &'a K, pub(super) Option<usize>);

impl<K: Kernel> fmt::Display for Symbol<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kernel, address) = self;
        let mut written = None;
        if let Some(address) = address {
            kernel.with_symbol(*address, &mut |name| {
                written = Some(f.write_fmt(fmt!("{}", Escaped(name))));
            });
        }
        match written {
            Some(result) => result,
            None => f.write_str("?"),
        }
    }
}

/// The name of a function of a patch and that of its object, `?` if there is no such function.
pub(super) fn names<K: Kernel>(patch: &Patch<K>, number: usize) -> (&[u8], &[u8]) {
    match function(patch, number) {
        Some((object, function)) => (
            function.name.as_bytes(),
            object_text(object.name.as_ref()).0,
        ),
        None => (b"?", b"?"),
    }
}
