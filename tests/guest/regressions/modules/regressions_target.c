// SPDX-License-Identifier: GPL-2.0
/* Functions to be patched, and a kthread that can be held inside one of them. */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/wait.h>

#include "regressions.h"

OPAQUE int regressions_one(void);
OPAQUE int regressions_one(void)
{
	return hidden(1);
}
SHOW_RESULT(one, regressions_one());

OPAQUE int regressions_two(void);
OPAQUE int regressions_two(void)
{
	return hidden(1);
}
SHOW_RESULT(two, regressions_two());

static DECLARE_WAIT_QUEUE_HEAD(queue);

static bool held;
module_param(held, bool, 0444);
MODULE_PARM_DESC(held, "whether the kthread is inside regressions_hold()");

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

OPAQUE int regressions_hold(void);
OPAQUE int regressions_hold(void)
{
	WRITE_ONCE(held, true);
	wait_event_idle(queue, !READ_ONCE(hold) || kthread_should_stop());
	WRITE_ONCE(held, false);
	return hidden(1);
}

static int holder(void *data)
{
	while (!kthread_should_stop()) {
		wait_event_idle(queue, READ_ONCE(hold) || kthread_should_stop());
		if (READ_ONCE(hold))
			regressions_hold();
	}
	return 0;
}

static struct task_struct *task;

static int __init target_init(void)
{
	task = kthread_run(holder, NULL, "regressions");
	return PTR_ERR_OR_ZERO(task);
}
module_init(target_init);

static void __exit target_exit(void)
{
	kthread_stop(task);
}
module_exit(target_exit);

MODULE_DESCRIPTION("Module to be patched, for the suite regressions");
MODULE_LICENSE("GPL");
