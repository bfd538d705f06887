// SPDX-License-Identifier: GPL-2.0
/*
 * A module that comes and goes while patches do. It calls its own patched functions together with those of
 * stress_target, so that all must be of one version. It does so in its first and its last moment, and from
 * a kthread and a timer in between.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "../../shared/timer.h"
#include "judge.h"

#define ROUNDS			64
#define ROUNDS_INTERRUPT	8
#define PERIOD			us_to_ktime(1700)

static atomic_long_t made;

static int get_calls(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&made));
}

static const struct kernel_param_ops calls_ops = {
	.get = get_calls,
};
module_param_cb(calls, &calls_ops, NULL, 0444);
MODULE_PARM_DESC(calls, "how many calls there have been of what is patched here");

static void call(enum context context, struct view *view, int rounds)
{
	struct calls calls;
	int i;
	u64 x;

	preempt_disable();
	calls_begin(&calls);
	x = calls.phase + (unsigned long)&calls;
	for (i = 0; i < rounds; i++) {
		u64 a = mix(7, x + i), b = ~a, c = a >> 5;

		calls_add(&calls, mix_visitor_f(a, b), visitor_f(a, b));
		calls_add(&calls, mix_f(a, b, c, x, a, b, c, x, a, b), stress_f(a, b, c, x, a, b, c, x, a, b));
		calls_add(&calls, mix_visitor_g(a, b, c), visitor_g(a, b, c));
	}
	calls_end(&calls, context, view);
	preempt_enable();
	atomic_long_add(2 * rounds, &made);
}

static struct task_struct *thread;
static struct view thread_view;
static struct hrtimer timer;

static enum hrtimer_restart timer_fires(struct hrtimer *timer)
{
	ktime_t began = ktime_get();

	call(INTERRUPT, current == READ_ONCE(thread) ? &thread_view : NULL, ROUNDS_INTERRUPT);
	return fires_again(timer, began, PERIOD);
}

static int visitor_thread(void *data)
{
	while (!kthread_should_stop()) {
		call(THREAD, &thread_view, ROUNDS);
		usleep_range(500, 1500);
	}
	return 0;
}

static int __init visitor_init(void)
{
	struct task_struct *task;

	call(USER, NULL, ROUNDS);
	task = kthread_run(visitor_thread, NULL, "stress_visitor");
	if (IS_ERR(task))
		return PTR_ERR(task);
	WRITE_ONCE(thread, task);
	hrtimer_setup(&timer, timer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	hrtimer_start(&timer, PERIOD, HRTIMER_MODE_REL_HARD);
	return 0;
}
module_init(visitor_init);

static void __exit visitor_exit(void)
{
	hrtimer_cancel(&timer);
	kthread_stop(thread);
	call(USER, NULL, ROUNDS);
}
module_exit(visitor_exit);

MODULE_DESCRIPTION("Functions that are patched in a module that comes and goes, and their callers");
MODULE_LICENSE("GPL");
