// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks that hold a transition up. Who writes a letter to /proc/transitions sleeps in
 * transitions_nap() until the parameter "wake" is set:
 *
 *	i	an interruptible sleep
 *	u	an uninterruptible one
 *	b	an uninterruptible one, called by code that no unwinder knows (x86_64 only)
 *
 * While the parameter "busy" is set, a kthread neither sleeps nor leaves the kernel. It calls
 * cond_resched(), and never transitions_nap().
 */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#ifdef CONFIG_X86_64
#include <asm/orc_types.h>
#endif

static DECLARE_WAIT_QUEUE_HEAD(queue);

static bool wake;

static int set_wake(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops wake_ops = {
	.set = set_wake,
	.get = param_get_bool,
};
module_param_cb(wake, &wake_ops, &wake, 0644);
MODULE_PARM_DESC(wake, "Whether nobody is to sleep");

/* Returns 1, and with the patch 2, or the error of a sleep that a signal has ended. */
noinline int transitions_nap(char how);
noinline int transitions_nap(char how)
{
	int ret = 0;

	switch (how) {
	case 'i':
		ret = wait_event_interruptible(queue, READ_ONCE(wake));
		break;
	case 'u':
		wait_event(queue, READ_ONCE(wake));
		break;
	}
	return ret ? ret : 1;
}

static int version_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", transitions_nap('n'));
}

static const struct kernel_param_ops version_ops = { .get = version_get };
module_param_cb(version, &version_ops, NULL, 0444);
MODULE_PARM_DESC(version, "What the function returns to whoever reads this");

int transitions_sleep(void);
int transitions_sleep(void)
{
	wait_event(queue, READ_ONCE(wake));
	return 1;
}

#ifdef CONFIG_X86_64
/*
 * objtool is told that the frame can't be known during the call. The frame holds an address in
 * transitions_nap(), as one that was left there by an earlier call would be. So it takes the unwinder
 * to tell whether the task is in that function.
 */
asm(".pushsection .text, \"ax\"\n"
    ".balign 16\n"
    ".type transitions_blind, @function\n"
    "transitions_blind:\n"
    "	leaq transitions_nap+1(%rip), %rax\n"
    "	pushq %rax\n"
    UNWIND_HINT(UNWIND_HINT_TYPE_UNDEFINED, 0, 0, 0)
    "	call transitions_sleep\n"
    UNWIND_HINT(UNWIND_HINT_TYPE_CALL, ORC_REG_SP, 16, 0)
    "	addq $8, %rsp\n"
    "	ret\n"
    ".size transitions_blind, . - transitions_blind\n"
    ".popsection");
int transitions_blind(void);
#else
static int transitions_blind(void)
{
	return -EOPNOTSUPP;
}
#endif

static ssize_t nap_write(struct file *file, const char __user *buffer, size_t size, loff_t *pos)
{
	char how;
	int ret;

	if (get_user(how, buffer))
		return -EFAULT;
	ret = how == 'b' ? transitions_blind() : transitions_nap(how);
	return ret < 0 ? ret : size;
}

static const struct proc_ops proc_ops = { .proc_write = nap_write };

static struct task_struct *thread;
static bool busy, seen_busy;

static int busy_thread(void *unused)
{
	while (!kthread_should_stop()) {
		WRITE_ONCE(seen_busy, READ_ONCE(busy));
		if (READ_ONCE(seen_busy))
			cond_resched();
		else
			schedule_timeout_interruptible(1);
	}
	return 0;
}

/*
 * Returns when the kthread has seen the value. Before that, a transition could find it asleep, and end.
 */
static int set_busy(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	while (thread && READ_ONCE(seen_busy) != READ_ONCE(busy))
		schedule_timeout_uninterruptible(1);
	return ret;
}

static const struct kernel_param_ops busy_ops = {
	.set = set_busy,
	.get = param_get_bool,
};
module_param_cb(busy, &busy_ops, &busy, 0644);
MODULE_PARM_DESC(busy, "Whether the kthread never sleeps");

static int __init target_init(void)
{
	thread = kthread_run(busy_thread, NULL, "transitions");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	if (proc_create("transitions", 0200, NULL, &proc_ops))
		return 0;
	kthread_stop(thread);
	return -ENOMEM;
}
module_init(target_init);

static void __exit target_exit(void)
{
	remove_proc_entry("transitions", NULL);
	kthread_stop(thread);
}
module_exit(target_exit);

MODULE_DESCRIPTION("Tasks that hold a transition up, for the suite transitions");
MODULE_LICENSE("GPL");
