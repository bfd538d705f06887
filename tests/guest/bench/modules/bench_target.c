// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that the benchmark's patch changes. /proc/bench_calls times calls of the first one. A
 * reader of /proc/bench_hold stays inside bench_hold() until "release" is set, and keeps a transition that
 * changes bench_hold() from ending. A signal reaches it there if "light" is set. While "busy" is set, a
 * kthread neither sleeps nor leaves the kernel.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/wait.h>

#include "functions.h"

/* Enough calls to hide the cost of reading the clock, and few enough to keep interrupts off meanwhile. */
#define CALLS 10000

/*
 * Each function differs, so that the compiler does not merge them. Each is global, so that it is kept as
 * written.
 */
#define DEFINE(n)                                                                                \
	int bench_##n(int x);                                                                    \
	noinline int bench_##n(int x)                                                            \
	{                                                                                        \
		return x + 1##n;                                                                 \
	}
EACH_2000(DEFINE)

/* One jump on the way to bench_0001(): the lowest possible cost of a redirection. */
int bench_jump(int x);
noinline int bench_jump(int x)
{
	return bench_0001(x);
}

static DECLARE_WAIT_QUEUE_HEAD(queue);
static bool release;

static int set_release(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops release_ops = {
	.set = set_release,
	.get = param_get_bool,
};
module_param_cb(release, &release_ops, &release, 0644);
MODULE_PARM_DESC(release, "whether bench_hold() lets its tasks go");

static int held;
module_param(held, int, 0444);
MODULE_PARM_DESC(held, "how many tasks are inside bench_hold()");

static bool light;
module_param(light, bool, 0644);
MODULE_PARM_DESC(light, "whether a signal reaches the tasks inside bench_hold()");

/* Holds the callers of both versions of bench_hold(). */
void bench_wait(void)
{
	held++;
	if (light)
		wait_event_interruptible(queue, release);
	else
		wait_event_idle(queue, release);
	held--;
}
EXPORT_SYMBOL_GPL(bench_wait);

int bench_hold(void);
noinline int bench_hold(void)
{
	bench_wait();
	return 0;
}

/* Takes the results, so that the compiler does not drop the calls. */
static int sink;

/* Returns the nanoseconds that a loop of CALLS rounds around "body" takes. */
#define TIME(body)                                                                               \
	({                                                                                       \
		unsigned long flags;                                                             \
		u64 start, end;                                                                  \
		int i, x = 0;                                                                    \
												 \
		local_irq_save(flags);                                                           \
		start = ktime_get_ns();                                                          \
		for (i = 0; i < CALLS; i++) {                                                    \
			body;                                                                    \
			OPTIMIZER_HIDE_VAR(x);                                                   \
		}                                                                                \
		end = ktime_get_ns();                                                            \
		WRITE_ONCE(sink, x);                                                             \
		local_irq_restore(flags);                                                        \
		end - start;                                                                     \
	})

static int calls_show(struct seq_file *m, void *v)
{
	u64 loop, direct, jump, first;

	/* A first round fills the caches. An emulator has a cache too, of translated code. */
	(void)TIME((void)0);
	(void)TIME(x = bench_0001(x));
	(void)TIME(x = bench_jump(x));
	(void)TIME(x = bench_0000(x));
	loop = TIME((void)0);
	direct = TIME(x = bench_0001(x));
	jump = TIME(x = bench_jump(x));
	first = TIME(x = bench_0000(x));
	seq_printf(m, "calls %d loop %llu unpatched %llu jump %llu patched %llu result %d\n", CALLS,
		   loop, direct, jump, first, bench_0000(0));
	return 0;
}

static int hold_show(struct seq_file *m, void *v)
{
	return bench_hold();
}

static bool busy;
module_param(busy, bool, 0644);
MODULE_PARM_DESC(busy, "whether the kthread never sleeps");

static int busy_thread(void *unused)
{
	while (!kthread_should_stop()) {
		if (READ_ONCE(busy))
			cond_resched();
		else
			schedule_timeout_idle(HZ / 10);
	}
	return 0;
}

static struct task_struct *thread;

static int __init target_init(void)
{
	if (!proc_create_single("bench_calls", 0, NULL, calls_show))
		return -ENOMEM;
	if (!proc_create_single("bench_hold", 0, NULL, hold_show)) {
		remove_proc_entry("bench_calls", NULL);
		return -ENOMEM;
	}
	thread = kthread_run(busy_thread, NULL, "bench_busy");
	if (IS_ERR(thread)) {
		remove_proc_entry("bench_hold", NULL);
		remove_proc_entry("bench_calls", NULL);
		return PTR_ERR(thread);
	}
	return 0;
}
module_init(target_init);

static void __exit target_exit(void)
{
	kthread_stop(thread);
	remove_proc_entry("bench_hold", NULL);
	remove_proc_entry("bench_calls", NULL);
}
module_exit(target_exit);

MODULE_DESCRIPTION("Functions that the livepatch benchmark patches");
MODULE_LICENSE("GPL");
