// SPDX-License-Identifier: GPL-2.0
/*
 * Two kthreads share a CPU and never sleep, so each is preempted by interrupts only. Two timers on that
 * CPU call the patched functions, one from a softirq and the other from an interrupt.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/timer.h>
#include <linux/wait.h>

#include "../../shared/timer.h"
#include "driver.h"

#define SPINNERS 2

/* The place where the kthreads spin. */
enum place { NOWHERE, INSIDE, ELSEWHERE };

static DECLARE_WAIT_QUEUE_HEAD(queue);
static struct task_struct *spinners[SPINNERS];
static int place;
/* True while the current spin goes on. False ends it. */
static bool spin;

static int set_place(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_int(val, kp);

	WRITE_ONCE(spin, place != NOWHERE);
	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops place_ops = {
	.set = set_place,
	.get = param_get_int,
};
module_param_cb(spin, &place_ops, &place, 0644);
MODULE_PARM_DESC(spin, "where the kthreads spin: 1 inside changing functions, 2 elsewhere; 0: they sleep");

static atomic_t spinning;
module_param_named(spinning, spinning.counter, int, 0444);
MODULE_PARM_DESC(spinning, "how many do");

static void spin_body(void *data)
{
	while (READ_ONCE(spin)) {
		cpu_relax();
		cond_resched();
	}
}

/*
 * The first kthread is interrupted in a changing function itself, the second one in a callee of such a
 * function.
 */
static void spin_in(int where, long number)
{
	if (where == ELSEWHERE)
		spin_body(NULL);
	else if (number == 0)
		conformance_spin(&spin);
	else
		conformance_hold(spin_body, NULL);
}

/* --- calls from interrupts ------------------------------------------------------------------------- */

/* The results of calls from one context: a count for each version, and one for anything else. */
struct seen {
	const char *context;
	atomic_t count[3];
};

static struct seen softirq = { "softirq" };
static struct seen interrupt = { "interrupt" };
/* Whether only calls that interrupt a spinning kthread count. Such a kthread is known not to have moved. */
static bool only_spinners;

static void call(struct seen *seen)
{
	struct told told = { .version = UNSEEN };

	if (READ_ONCE(only_spinners) && current != spinners[0] && current != spinners[1])
		return;
	check_calls(&told, NULL);
	if (told.version == WRONG)
		pr_err_once("from the %s: %s\n", seen->context, told.why);
	atomic_inc(&seen->count[told.version < 0 ? 2 : told.version]);
}

static struct timer_list timer;
static struct hrtimer hrtimer;

static void timer_fires(struct timer_list *unused)
{
	call(&softirq);
	mod_timer(&timer, jiffies + 1);
}

static enum hrtimer_restart hrtimer_fires(struct hrtimer *self)
{
	ktime_t began = ktime_get();

	call(&interrupt);
	return fires_again(self, began, ms_to_ktime(3));
}

static void forget(struct seen *seen)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(seen->count); i++)
		atomic_set(&seen->count[i], 0);
}

static bool enough(const struct seen *seen)
{
	return atomic_read(&seen->count[ORIGINAL]) + atomic_read(&seen->count[PATCHED]) +
	       atomic_read(&seen->count[2]) >= 20;
}

static void tell(struct told *told, const struct seen *seen)
{
	int original = atomic_read(&seen->count[ORIGINAL]), patched = atomic_read(&seen->count[PATCHED]);

	if ((original && patched) || atomic_read(&seen->count[2])) {
		scnprintf(told->why, sizeof(told->why), "%s: %d original, %d patched, %d neither",
			  seen->context, original, patched, atomic_read(&seen->count[2]));
		told->version = WRONG;
	} else if (original || patched) {
		see_version(told, seen->context, patched ? PATCHED : ORIGINAL);
	} else {
		scnprintf(told->why, sizeof(told->why), "%s: no call", seen->context);
		told->version = WRONG;
	}
}

/* Checks the versions that calls from interrupts get from now on, and waits until there are enough calls. */
static void check_spin(struct told *told, char __user *buffer)
{
	int tries;

	WRITE_ONCE(only_spinners, place == INSIDE);
	/* A call that has already begun still counts as before. */
	msleep(50);
	forget(&softirq);
	forget(&interrupt);
	for (tries = 0; tries < 300 && !(enough(&softirq) && enough(&interrupt)); tries++)
		msleep(50);
	tell(told, &softirq);
	tell(told, &interrupt);
}

const struct check spin_check = { "unwind-softirqs", check_spin };

/* --- the kthreads ---------------------------------------------------------------------------------- */

static int spin_thread(void *data)
{
	long number = (long)data;

	if (number == 0) {
		/* The timers stay on the CPU that starts them, so they are started here. */
		hrtimer_start(&hrtimer, ms_to_ktime(3), HRTIMER_MODE_REL_PINNED_HARD);
		add_timer_on(&timer, smp_processor_id());
	}
	while (!kthread_should_stop()) {
		wait_event_idle(queue, READ_ONCE(spin) || kthread_should_stop());
		atomic_inc(&spinning);
		spin_in(READ_ONCE(place), number);
		atomic_dec(&spinning);
	}
	return 0;
}

int __init spin_start(void)
{
	int cpu = cpumask_last(cpu_online_mask);
	long i;

	timer_setup(&timer, timer_fires, TIMER_PINNED);
	hrtimer_setup(&hrtimer, hrtimer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	for (i = 0; i < SPINNERS; i++) {
		spinners[i] = kthread_create(spin_thread, (void *)i, "conformance/spin%ld", i);
		if (IS_ERR(spinners[i])) {
			int ret = PTR_ERR(spinners[i]);

			spinners[i] = NULL;
			spin_stop();
			return ret;
		}
		kthread_bind(spinners[i], cpu);
		wake_up_process(spinners[i]);
	}
	return 0;
}

void spin_stop(void)
{
	int i;

	WRITE_ONCE(spin, false);
	for (i = 0; i < SPINNERS; i++)
		if (spinners[i])
			kthread_stop(spinners[i]);
	timer_shutdown_sync(&timer);
	hrtimer_cancel(&hrtimer);
}
