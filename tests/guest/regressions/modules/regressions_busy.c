// SPDX-License-Identifier: GPL-2.0
/* A kthread on each of the first two CPUs. It neither sleeps nor leaves the kernel, unless told to. */
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "regressions.h"

static bool busy = true;
module_param(busy, bool, 0644);
MODULE_PARM_DESC(busy, "Whether the kthreads never sleep");

static bool report;
module_param(report, bool, 0644);
MODULE_PARM_DESC(report, "Whether they tell tasks-RCU that they are in no trampoline");

static unsigned int outside = 400;
module_param(outside, uint, 0644);
MODULE_PARM_DESC(outside, "How long they are outside of the function, which takes about 20");

/* Returns 1, and with the patch 2. */
noinline int regressions_busy_function(unsigned int rounds);
noinline int regressions_busy_function(unsigned int rounds)
{
	unsigned int i;

	for (i = 0; i < rounds; i++)
		barrier();
	return hidden(1);
}

static int busy_thread(void *unused)
{
	unsigned int i;

	while (!kthread_should_stop()) {
		if (!READ_ONCE(busy)) {
			schedule_timeout_interruptible(1);
			continue;
		}
		regressions_busy_function(20);
		for (i = 0; i < READ_ONCE(outside); i++)
			barrier();
		if (READ_ONCE(report))
			cond_resched_tasks_rcu_qs();
		else
			cond_resched();
	}
	return 0;
}

static int call_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", regressions_busy_function(1));
}

static const struct kernel_param_ops call_ops = { .get = call_get };
module_param_cb(call, &call_ops, NULL, 0444);
MODULE_PARM_DESC(call, "What the function returns to whoever reads this");

static struct task_struct *threads[2];

static void stop_threads(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (threads[i])
			kthread_stop(threads[i]);
}

static int __init busy_init(void)
{
	unsigned int cpu, count = 0;

	for_each_online_cpu(cpu) {
		struct task_struct *thread;

		if (count == ARRAY_SIZE(threads))
			break;
		thread = kthread_create_on_cpu(busy_thread, NULL, cpu, "busy/%u");
		if (IS_ERR(thread)) {
			stop_threads();
			return PTR_ERR(thread);
		}
		threads[count++] = thread;
		wake_up_process(thread);
	}
	return 0;
}
module_init(busy_init);

static void __exit busy_exit(void)
{
	stop_threads();
}
module_exit(busy_exit);

MODULE_DESCRIPTION("Kthreads that are always running, for the regressions suite");
MODULE_LICENSE("GPL");
