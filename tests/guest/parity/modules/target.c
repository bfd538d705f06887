// SPDX-License-Identifier: GPL-2.0
/*
 * A module to be patched. /proc/<module> shows the version of each of its functions that runs. A reader of
 * /proc/<module>_hold stays inside parity_hold() until "release" is set. So a transition that changes
 * parity_hold() stalls for exactly as long as a scenario wants.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(queue);

static int held;
module_param(held, int, 0444);
MODULE_PARM_DESC(held, "how many tasks are inside parity_hold()");

static bool interruptible;
module_param(interruptible, bool, 0644);
MODULE_PARM_DESC(interruptible, "whether a signal gets a task out of parity_hold()");

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
MODULE_PARM_DESC(release, "whether parity_hold() lets its tasks go");

static bool fail_init;
module_param(fail_init, bool, 0444);
MODULE_PARM_DESC(fail_init, "whether loading fails after the patches were applied");

/* For relocations of live patches that refer to this module. */
int parity_secret = 42;

/* Global, so that the compiler keeps each function as written: a patch needs exactly these. */
int parity_alpha(struct seq_file *m);
int parity_beta(struct seq_file *m);
int parity_gamma(struct seq_file *m);
int parity_hold(struct seq_file *m);

noinline int parity_alpha(struct seq_file *m)
{
	seq_puts(m, "alpha: original\n");
	return parity_secret - 42;
}

noinline int parity_beta(struct seq_file *m)
{
	seq_puts(m, "beta: original\n");
	return 0;
}

noinline int parity_gamma(struct seq_file *m)
{
	seq_puts(m, "gamma: original\n");
	return 0;
}

noinline int parity_hold(struct seq_file *m)
{
	int ret = 0;

	held++;
	if (interruptible)
		ret = wait_event_interruptible(queue, release);
	else
		wait_event_idle(queue, release);
	held--;
	if (!ret)
		seq_puts(m, "hold: original\n");
	return ret;
}

static int show(struct seq_file *m, void *v)
{
	return parity_alpha(m) ?: parity_beta(m) ?: parity_gamma(m);
}

static int hold_show(struct seq_file *m, void *v)
{
	int ret;

	/* Unloading would wait for this reader, and nothing would release it. */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	ret = parity_hold(m);
	module_put(THIS_MODULE);
	return ret;
}

static int __init target_init(void)
{
	pr_info("init\n");
	if (fail_init)
		return -ENXIO;
	if (!proc_create_single(KBUILD_MODNAME, 0, NULL, show))
		return -ENOMEM;
	if (!proc_create_single(KBUILD_MODNAME "_hold", 0, NULL, hold_show)) {
		remove_proc_entry(KBUILD_MODNAME, NULL);
		return -ENOMEM;
	}
	return 0;
}
module_init(target_init);

static void __exit target_exit(void)
{
	remove_proc_entry(KBUILD_MODNAME "_hold", NULL);
	remove_proc_entry(KBUILD_MODNAME, NULL);
	pr_info("exit\n");
}
module_exit(target_exit);

MODULE_DESCRIPTION("Module that live patches patch, for the parity scenarios");
MODULE_LICENSE("GPL");
