/* SPDX-License-Identifier: GPL-2.0 */
/* The functions that the C half and the Rust half of the bridge call in each other. */
#ifndef _KERNEL_LIVEPATCH_LINUX_LIVEPATCH_H
#define _KERNEL_LIVEPATCH_LINUX_LIVEPATCH_H

#include <linux/ftrace.h>
#include <linux/sched.h>
#include <linux/types.h>

/* The word of a site in transition, and of one that is settled at the original. */
#define LIVEPATCH_IN_TRANSITION 0
#define LIVEPATCH_ORIGINAL 1

/* Site in site.rs. */
struct livepatch_site {
	unsigned long word;
	unsigned long newest;
	unsigned long below;
};

/* The start of Entry in ftrace.rs: a patched function as the handler knows it. */
struct livepatch_entry {
	struct hlist_node node;
	unsigned long location;
	struct livepatch_site site;
};

/* In livepatch.c, for Rust. */

/* The handler of every ftrace_ops of the core. */
void livepatch_ftrace_handler(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			      struct ftrace_regs *fregs);

/*
 * These are never freed. So ftrace need not wait, when one is unregistered, until no task is in its
 * trampoline. That wait takes from 50 to some 200 ms. They have to be data of the kernel: ftrace
 * takes all others for memory that may be freed.
 */
#define LIVEPATCH_OPS 16
extern struct ftrace_ops livepatch_ops[LIVEPATCH_OPS];

/*
 * The table in which the handler finds the entry of a location. One caller at a time: they hold
 * the same lock. The handler may use an entry that was unlinked until every CPU has scheduled.
 */
void livepatch_link(struct livepatch_entry *entry);
void livepatch_unlink(struct livepatch_entry *entry);

/* Returns the entry of the location, or NULL. */
struct livepatch_entry *livepatch_find(unsigned long location);

/* Calls fn for every thread, under tasklist_lock. */
void livepatch_visit_threads(void (*fn)(struct task_struct *task, void *arg), void *arg);

/*
 * Returns the thread with the lowest PID that is not below *number, with a reference, and sets
 * *number to the PID after it. Returns NULL if there is no such thread.
 */
struct task_struct *livepatch_get_next_thread(int *number);

/*
 * Calls fn with the words from sp to the end of a task's stack, if the task is not on a runqueue
 * and all of its return addresses are on that stack. The caller keeps the task from running.
 */
void livepatch_with_sleeping_stack(struct task_struct *task, unsigned long sp,
				   void (*fn)(const unsigned long *words, unsigned long count,
					      void *arg),
				   void *arg);

/*
 * Hands out this CPU's buffer for return addresses, or returns NULL if it is in use. Preemption is
 * off until livepatch_put_entries().
 */
unsigned long *livepatch_take_entries(unsigned int *length);
void livepatch_put_entries(void);

/*
 * Queues a call of livepatch_switch_if_pending() for the task on the stopper of the CPU that runs
 * it. Does nothing if that stopper still has such a call to make.
 */
void livepatch_take_off_cpu(struct task_struct *task);

/*
 * Has an interrupt on this CPU call livepatch_retry_now(). The caller may be anywhere: in the
 * scheduler with its locks held, or in NMI.
 */
void livepatch_retry_soon(void);

/* What happened in a transition, for trace.h. by_* are the moves of tasks by each way. */
struct livepatch_counts {
	u64 duration_us;
	u64 attempts;
	u64 reversals;
	/* Children of tasks that had not moved. */
	u64 forks;
	u64 by_attempt;
	u64 by_exit;
	u64 by_idle;
	u64 by_scheduler;
	u64 by_stopper;
	u64 by_force;
};

/* Runs fn on each online CPU in turn, for when schedule_on_each_cpu() finds no memory. */
void livepatch_work_on_each_cpu(long (*fn)(void *arg));

#ifdef CONFIG_BPF_JIT
/* Replaces each entry that is an address in a BPF trampoline by the function that it traces. */
void livepatch_name_traced(unsigned long *entries, unsigned long count);

/* Whether one of the words on a stack points into a BPF trampoline. */
bool livepatch_finds_trampoline(const unsigned long *words, unsigned long count);
#endif

/* In Rust, for livepatch.c. */

/* Runs as an early initcall. */
int livepatch_early_init(void);

/* Has the work that retries the transition run now. */
void livepatch_retry_now(void);

/* Moves a task that was taken off its CPU, if its stack allows. */
void livepatch_switch_if_pending(struct task_struct *task);

#endif
