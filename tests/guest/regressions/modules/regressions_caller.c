// SPDX-License-Identifier: GPL-2.0
/* A function that calls another one, and a kthread that calls it while `hold` is set. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>

#include "regressions.h"

OPAQUE int regressions_inner(void);
OPAQUE int regressions_inner(void)
{
	return hidden(1);
}

OPAQUE int regressions_outer(void);
OPAQUE int regressions_outer(void)
{
	return hidden(regressions_inner());
}

static bool hold;
module_param(hold, bool, 0644);

static int caller(void *data)
{
	while (!kthread_should_stop()) {
		if (READ_ONCE(hold))
			regressions_outer();
		msleep(20);
	}
	return 0;
}

static struct task_struct *task;

static int __init caller_init(void)
{
	task = kthread_run(caller, NULL, "regressions");
	return PTR_ERR_OR_ZERO(task);
}
module_init(caller_init);

static void __exit caller_exit(void)
{
	kthread_stop(task);
}
module_exit(caller_exit);

MODULE_DESCRIPTION("Module with a caller to be patched, for the suite regressions");
MODULE_LICENSE("GPL");
