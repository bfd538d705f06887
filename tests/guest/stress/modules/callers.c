// SPDX-License-Identifier: GPL-2.0
/*
 * The callers. While a CPU is online, it has a kthread, a timer in interrupts and a timer in softirqs that
 * call. Tasks that read /proc/stress/calls, or sleep in /proc/stress/hold, call too. No function of the
 * callers themselves is ever patched.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smpboot.h>

#include "../../shared/timer.h"
#include "judge.h"

/* Enough calls that a move among them would show, and few enough that preemption is not off for long. */
#define PAIRS		64
#define PAIRS_INTERRUPT	8
/* The number of batches in one stay of a task in the kernel. */
#define BATCHES		16

#define PERIOD		ms_to_ktime(1)
#define PERIOD_SOFTIRQ	us_to_ktime(1300)

static bool rest;
module_param(rest, bool, 0644);
MODULE_PARM_DESC(rest, "whether tasks sleep between their calls, so that timers find the CPUs idle");

static unsigned int hold;
module_param(hold, uint, 0644);
MODULE_PARM_DESC(hold, "for how many milliseconds stress_hold() is asked to sleep; 0: it is not called");

static atomic_t held;
module_param_named(held, held.counter, int, 0444);
MODULE_PARM_DESC(held, "how many tasks are on their way through it");

/* Makes calls in a row with preemption off, so that the task cannot be moved meanwhile. */
static void call(enum context context, struct view *view, int pairs)
{
	struct calls calls;
	u64 x;

	preempt_disable();
	calls_begin(&calls);
	x = calls.phase + (unsigned long)&calls;
	while (pairs--) {
		u64 a = mix(4, x), b = ~a, c = a >> 7, d = a + x, e = a << 3, f = b - x, g = c * 3, h = d ^ 5,
		    i = a * 7, j = x;

		calls_add(&calls, mix_f(a, b, c, d, e, f, g, h, i, j),
			  stress_f(a, b, c, d, e, f, g, h, i, j));
		calls_add(&calls, mix_g(a, b, c), stress_g(a, b, c));
		x = j + i;
	}
	calls_end(&calls, context, view);
	preempt_enable();
}

static void call_often(enum context context, struct view *view)
{
	int i;

	for (i = 0; i < BATCHES; i++) {
		call(context, view, PAIRS);
		/* To remove a hook, the kernel waits until every task passes here or leaves the kernel. */
		cond_resched_tasks_rcu_qs();
	}
	if (READ_ONCE(rest))
		msleep(20);
}

/* --- kthreads and timers ---------------------------------------------------------------------------- */

/* While its CPU is offline, a kthread is parked and its timers are off. */
struct caller {
	struct view view;
	struct hrtimer interrupt, softirq;
};

static DEFINE_PER_CPU(struct caller, callers);
static DEFINE_PER_CPU(struct task_struct *, threads);

/* What the interrupted task has seen is known only if it is one of these kthreads. */
static void call_from_timer(enum context context)
{
	struct caller *caller = this_cpu_ptr(&callers);

	call(context, current == __this_cpu_read(threads) ? &caller->view : NULL, PAIRS_INTERRUPT);
}

static enum hrtimer_restart interrupt_fires(struct hrtimer *timer)
{
	ktime_t began = ktime_get();

	call_from_timer(INTERRUPT);
	return fires_again(timer, began, PERIOD);
}

static enum hrtimer_restart softirq_fires(struct hrtimer *timer)
{
	ktime_t began = ktime_get();

	call_from_timer(SOFTIRQ);
	return fires_again(timer, began, PERIOD_SOFTIRQ);
}

static void start_timers(unsigned int cpu)
{
	struct caller *caller = per_cpu_ptr(&callers, cpu);

	hrtimer_start(&caller->interrupt, PERIOD, HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(&caller->softirq, PERIOD_SOFTIRQ, HRTIMER_MODE_REL_PINNED_SOFT);
}

static void stop_timers(unsigned int cpu)
{
	struct caller *caller = per_cpu_ptr(&callers, cpu);

	hrtimer_cancel(&caller->interrupt);
	hrtimer_cancel(&caller->softirq);
}

static void set_up(unsigned int cpu)
{
	struct caller *caller = per_cpu_ptr(&callers, cpu);

	hrtimer_setup(&caller->interrupt, interrupt_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_setup(&caller->softirq, softirq_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_SOFT);
	start_timers(cpu);
}

static void clean_up(unsigned int cpu, bool online)
{
	stop_timers(cpu);
}

static int has_calls_to_make(unsigned int cpu)
{
	return true;
}

static void make_calls(unsigned int cpu)
{
	call_often(THREAD, &per_cpu_ptr(&callers, cpu)->view);
}

static struct smp_hotplug_thread hotplug_threads = {
	.store = &threads,
	.thread_comm = "stress/%u",
	.setup = set_up,
	.unpark = start_timers,
	.park = stop_timers,
	.cleanup = clean_up,
	.thread_should_run = has_calls_to_make,
	.thread_fn = make_calls,
};

/* --- files ------------------------------------------------------------------------------------------ */

static int view_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc(sizeof(struct view), GFP_KERNEL);
	return file->private_data ? 0 : -ENOMEM;
}

static int view_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t calls_read(struct file *file, char __user *buffer, size_t size, loff_t *pos)
{
	call_often(USER, file->private_data);
	return 0;
}

static const struct proc_ops calls_ops = {
	.proc_open = view_open,
	.proc_read = calls_read,
	.proc_release = view_release,
};

/* Makes one long call. Its version is decided when the call begins. */
static ssize_t hold_read(struct file *file, char __user *buffer, size_t size, loff_t *pos)
{
	unsigned int ms = READ_ONCE(hold);
	struct calls calls;

	if (!ms)
		return 0;
	atomic_inc(&held);
	calls_begin(&calls);
	calls_add(&calls, mix_hold(ms), stress_hold(ms));
	calls_end(&calls, USER, file->private_data);
	atomic_dec(&held);
	return 0;
}

static const struct proc_ops hold_ops = {
	.proc_open = view_open,
	.proc_read = hold_read,
	.proc_release = view_release,
};

static int __init target_init(void)
{
	struct proc_dir_entry *dir = proc_mkdir("stress", NULL);
	int ret;

	if (!dir)
		return -ENOMEM;
	ret = functions_init() ?: judge_init(dir);
	if (!ret && (!proc_create("calls", 0444, dir, &calls_ops) || !proc_create("hold", 0444, dir, &hold_ops)))
		ret = -ENOMEM;
	ret = ret ?: smpboot_register_percpu_thread(&hotplug_threads);
	if (ret)
		remove_proc_subtree("stress", NULL);
	return ret;
}
module_init(target_init);

static void __exit target_exit(void)
{
	remove_proc_subtree("stress", NULL);
	smpboot_unregister_percpu_thread(&hotplug_threads);
}
module_exit(target_exit);

MODULE_DESCRIPTION("Functions that are patched while they are called, and their callers");
MODULE_LICENSE("GPL");
