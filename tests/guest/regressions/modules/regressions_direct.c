// SPDX-License-Identifier: GPL-2.0
/*
 * A kthread that changes the direct caller of a function all the time. While it does so, ftrace goes
 * through its records without its lock. The callers do nothing. They are x86_64's.
 */
#include <linux/err.h>
#include <linux/ftrace.h>
#include <linux/kthread.h>
#include <linux/linkage.h>

#include "regressions.h"

#if defined(CONFIG_X86_64) && defined(CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)
#include <asm/ibt.h>

OPAQUE int regressions_direct(void);
OPAQUE int regressions_direct(void)
{
	return hidden(1);
}

void regressions_direct_a(void);
void regressions_direct_b(void);
asm(".pushsection .text, \"ax\", @progbits\n"
    ".balign 16\n"
    ".type regressions_direct_a, @function\n"
    "regressions_direct_a:\n"
    ASM_ENDBR
    ASM_RET
    ".size regressions_direct_a, . - regressions_direct_a\n"
    ".balign 16\n"
    ".type regressions_direct_b, @function\n"
    "regressions_direct_b:\n"
    ASM_ENDBR
    ASM_RET
    ".size regressions_direct_b, . - regressions_direct_b\n"
    ".popsection\n");

static int changes;
module_param(changes, int, 0444);
MODULE_PARM_DESC(changes, "How often the caller has changed, or an error");

static struct ftrace_ops ops;

static int changer(void *data)
{
	while (!kthread_should_stop()) {
		void *caller = changes % 2 ? regressions_direct_a : regressions_direct_b;
		int ret = changes < 0 ? changes : modify_ftrace_direct(&ops, (unsigned long)caller);

		changes = ret ?: changes + 1;
		regressions_direct();
		schedule_timeout_interruptible(1);
	}
	return 0;
}

static struct task_struct *task;

static int __init direct_init(void)
{
	int ret = ftrace_set_filter_ip(&ops, (unsigned long)regressions_direct, 0, 0);

	ret = ret ?: register_ftrace_direct(&ops, (unsigned long)regressions_direct_a);
	if (ret)
		return ret;
	task = kthread_run(changer, NULL, "regressions");
	if (!IS_ERR(task))
		return 0;
	unregister_ftrace_direct(&ops, (unsigned long)regressions_direct_a, true);
	return PTR_ERR(task);
}

static void __exit direct_exit(void)
{
	kthread_stop(task);
	unregister_ftrace_direct(&ops, ops.direct_call, true);
}
module_exit(direct_exit);
#else
static int __init direct_init(void)
{
	return -EOPNOTSUPP;
}
#endif
module_init(direct_init);

MODULE_DESCRIPTION("Module whose direct caller changes, for the suite regressions");
MODULE_LICENSE("GPL");
