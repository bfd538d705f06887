/* SPDX-License-Identifier: GPL-2.0 */
/* What the C and the Rust half of the bridge call in each other. */
#ifndef _KERNEL_LIVEPATCH_LINUX_LIVEPATCH_H
#define _KERNEL_LIVEPATCH_LINUX_LIVEPATCH_H

#include <linux/ftrace.h>
#include <linux/sched.h>

/* In livepatch.c, for Rust. */

/* The handler of every ftrace_ops of the core. */
void livepatch_ftrace_handler(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			      struct ftrace_regs *fregs);

/* Calls fn for every thread, under tasklist_lock. */
void livepatch_for_each_thread(void (*fn)(struct task_struct *task, void *arg), void *arg);

/*
 * Returns the thread with the lowest number from *number on, with a reference, and sets *number to the
 * number behind it; NULL behind the last one.
 */
struct task_struct *livepatch_get_next_thread(int *number);

/*
 * Calls fn for the words on the stack of a task from sp on, if the task sleeps of its own will and all of
 * its return addresses are there. The caller keeps the task from running.
 */
void livepatch_with_sleeping_stack(struct task_struct *task, unsigned long sp,
				   void (*fn)(const unsigned long *words, unsigned long count, void *arg),
				   void *arg);

/* Returns this CPU's buffer for return addresses. The caller has preemption off while it uses it. */
unsigned long *livepatch_stack_buffer(unsigned int *length);

/*
 * Has livepatch_switch_if_pending() called by the stopper of the CPU that the task is running on, unless
 * that stopper still has to do so for another task. The caller holds klp_mutex.
 */
void livepatch_take_off_cpu(struct task_struct *task);

/* Runs fn on every online CPU, one after the other, where schedule_on_each_cpu() has no memory. */
void livepatch_work_on_each_cpu(long (*fn)(void *arg));

#ifdef CONFIG_BPF_JIT
/* Puts the traced function in the place of each address in a BPF trampoline. */
void livepatch_name_traced(unsigned long *entries, unsigned long count);

/* Whether one of the words on a stack points into a BPF trampoline. */
bool livepatch_finds_trampoline(const unsigned long *words, unsigned long count);
#endif

/* In Rust, for livepatch.c. */

/* Runs as an early initcall. */
int livepatch_early_init(void);

/* Sends the call at ip where the core wants it. The caller guards against recursion. */
void livepatch_dispatch(unsigned long ip, struct ftrace_regs *fregs);

/* Moves a task whose CPU does not run it, if its stack allows. */
void livepatch_switch_if_pending(struct task_struct *task);

#endif
