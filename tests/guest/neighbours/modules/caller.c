// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of what is patched. Each read of the parameter "call" is one by the task that reads. Each read of
 * "held_call" is one by a kthread that is inside neighbours_hold(): in a transition it has not moved.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/wait.h>

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

static struct task_struct *holder;

static int __init caller_init(void)
{
	int ret = sleepy_init();

	if (ret)
		return ret;
	holder = kthread_run(hold_thread, NULL, "neighbours/hold");
	if (IS_ERR(holder))
		sleepy_exit();
	return PTR_ERR_OR_ZERO(holder);
}
module_init(caller_init);

static void __exit caller_exit(void)
{
	WRITE_ONCE(hold, false);
	kthread_stop(holder);
	sleepy_exit();
}
module_exit(caller_exit);

MODULE_DESCRIPTION("Module to be patched, for the neighbours suite");
MODULE_LICENSE("GPL");
