// SPDX-License-Identifier: GPL-2.0
/*
 * Calls the patched functions. A read of the parameter "call" makes a call in the reading task. A read of
 * "held_call" makes a call in a kthread inside neighbours_hold(), which a transition has not moved. While
 * "storm" is set to a version, a timer on each CPU calls too, and counts the calls that got another
 * version.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/wait.h>

#include "../../shared/timer.h"
#include "neighbours.h"

static DECLARE_WAIT_QUEUE_HEAD(queue);

static bool held;
module_param(held, bool, 0444);
MODULE_PARM_DESC(held, "whether the kthread is inside neighbours_hold()");

static bool hold;

static int set_and_wake(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops waking_ops = {
	.set = set_and_wake,
	.get = param_get_bool,
};
module_param_cb(hold, &waking_ops, &hold, 0644);
MODULE_PARM_DESC(hold, "whether it is to be");

static DEFINE_MUTEX(request_lock);
static DECLARE_COMPLETION(replied);
static bool request;
static int reply;

static void hold_body(void)
{
	WRITE_ONCE(held, true);
	for (;;) {
		wait_event_idle(queue, READ_ONCE(request) || !READ_ONCE(hold));
		if (!READ_ONCE(request))
			break;
		reply = neighbours_function();
		WRITE_ONCE(request, false);
		complete(&replied);
	}
	WRITE_ONCE(held, false);
}

static int hold_thread(void *data)
{
	while (!kthread_should_stop()) {
		wait_event_idle(queue, READ_ONCE(hold) || kthread_should_stop());
		if (READ_ONCE(hold))
			neighbours_hold(hold_body);
	}
	return 0;
}

static int tell(char *buffer, int version)
{
	return sysfs_emit(buffer, "%s\n", version == ORIGINAL ? "original" :
					  version == NEW ? "new" : "garbage");
}

static int get_call(char *buffer, const struct kernel_param *kp)
{
	return tell(buffer, neighbours_function());
}

static int get_held_call(char *buffer, const struct kernel_param *kp)
{
	int version;

	if (!READ_ONCE(held))
		return -EAGAIN;
	mutex_lock(&request_lock);
	WRITE_ONCE(request, true);
	wake_up_all(&queue);
	wait_for_completion(&replied);
	version = reply;
	mutex_unlock(&request_lock);
	return tell(buffer, version);
}

static const struct kernel_param_ops call_ops = { .get = get_call };
module_param_cb(call, &call_ops, NULL, 0444);
MODULE_PARM_DESC(call, "the version that whoever reads this gets");

static const struct kernel_param_ops held_call_ops = { .get = get_held_call };
module_param_cb(held_call, &held_call_ops, NULL, 0444);
MODULE_PARM_DESC(held_call, "the version that the kthread gets");

#define CALM	-1
#define PERIOD	us_to_ktime(300)

static DEFINE_PER_CPU(struct hrtimer, timers);

static atomic_t astray;
module_param_named(astray, astray.counter, int, 0444);
MODULE_PARM_DESC(astray, "how many calls of the timers got another version than they should");

static int storm = CALM;

static enum hrtimer_restart timer_fires(struct hrtimer *timer)
{
	ktime_t began = ktime_get();

	if (neighbours_function() != READ_ONCE(storm))
		atomic_inc(&astray);
	return fires_again(timer, began, PERIOD);
}

static void start_timer(void *unused)
{
	hrtimer_start(this_cpu_ptr(&timers), PERIOD, HRTIMER_MODE_REL_PINNED_HARD);
}

static void stop_timers(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		hrtimer_cancel(per_cpu_ptr(&timers, cpu));
}

static int set_storm(const char *val, const struct kernel_param *kp)
{
	int version, ret = kstrtoint(val, 0, &version);

	if (ret)
		return ret;
	stop_timers();
	WRITE_ONCE(storm, version);
	if (version != CALM)
		on_each_cpu(start_timer, NULL, true);
	return 0;
}

static const struct kernel_param_ops storm_ops = {
	.set = set_storm,
	.get = param_get_int,
};
module_param_cb(storm, &storm_ops, &storm, 0644);
MODULE_PARM_DESC(storm, "the version that the timers are to get; -1: they do not call");

static void set_up_timers(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		hrtimer_setup(per_cpu_ptr(&timers, cpu), timer_fires, CLOCK_MONOTONIC,
			      HRTIMER_MODE_REL_PINNED_HARD);
}

static struct task_struct *holder;

static int __init caller_init(void)
{
	int ret = sleepy_init();

	if (ret)
		return ret;
	set_up_timers();
	holder = kthread_run(hold_thread, NULL, "neighbours/hold");
	if (IS_ERR(holder))
		sleepy_exit();
	return PTR_ERR_OR_ZERO(holder);
}
module_init(caller_init);

static void __exit caller_exit(void)
{
	stop_timers();
	WRITE_ONCE(hold, false);
	kthread_stop(holder);
	sleepy_exit();
}
module_exit(caller_exit);

MODULE_DESCRIPTION("Module to be patched, for the neighbours suite");
MODULE_LICENSE("GPL");
