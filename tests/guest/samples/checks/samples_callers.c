// SPDX-License-Identifier: GPL-2.0
/*
 * Calls callers_version() on every CPU, and counts mixed calls: those that began after another one
 * had returned the new version, and yet returned the old one. Parameters:
 *
 *	hold	writing keeps the task inside callers_hold(), where it calls too
 *	release	ends that
 *	to	writing says which version is the new one, and begins a new count
 *	mixed	the count
 *	version	what the function returns to whoever reads this
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

static int one = 1;
static int to = 2;
static bool seen;
static atomic_long_t mixed;
static bool release;
module_param(release, bool, 0600);
MODULE_PARM_DESC(release, "Whether nobody is to stay inside callers_hold()");

noinline int callers_version(void);
noinline int callers_version(void)
{
	return READ_ONCE(one);
}

static void call(void)
{
	/* Pairs with the release below: the call there was over before this one begins. */
	bool late = smp_load_acquire(&seen);

	if (callers_version() == READ_ONCE(to))
		/* Pairs with the acquire above, of a call that begins later. */
		smp_store_release(&seen, true);
	else if (late)
		atomic_long_inc(&mixed);
}

noinline int callers_hold(void);
noinline int callers_hold(void)
{
	while (!READ_ONCE(release)) {
		call();
		usleep_range(50, 100);
	}
	return READ_ONCE(one);
}

static int hold_set(const char *val, const struct kernel_param *kp)
{
	int ret;

	kernel_param_unlock(THIS_MODULE);
	ret = callers_hold();
	kernel_param_lock(THIS_MODULE);
	return ret < 0 ? ret : 0;
}

static const struct kernel_param_ops hold_ops = { .set = hold_set };
module_param_cb(hold, &hold_ops, NULL, 0200);
MODULE_PARM_DESC(hold, "Keeps the task that writes here");

static int to_set(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_int(val, kp);

	/* Who has got the other version has told so. Then, who has seen that has counted. */
	synchronize_rcu_tasks();
	/* Calls that see it come after the new version is known. */
	smp_store_release(&seen, false);
	synchronize_rcu_tasks();
	atomic_long_set(&mixed, 0);
	return ret;
}

static const struct kernel_param_ops to_ops = { .set = to_set, .get = param_get_int };
module_param_cb(to, &to_ops, &to, 0600);
MODULE_PARM_DESC(to, "The new version");

static int mixed_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&mixed));
}

static const struct kernel_param_ops mixed_ops = { .get = mixed_get };
module_param_cb(mixed, &mixed_ops, NULL, 0400);
MODULE_PARM_DESC(mixed, "How many calls were mixed");

static int version_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", callers_version());
}

static const struct kernel_param_ops version_ops = { .get = version_get };
module_param_cb(version, &version_ops, NULL, 0400);
MODULE_PARM_DESC(version, "What callers_version() returns");

static int caller(void *unused)
{
	int i;

	while (!kthread_should_stop()) {
		for (i = 0; i < 1000; i++)
			call();
		usleep_range(50, 100);
	}
	return 0;
}

#define CALLERS	4
static struct task_struct *callers[CALLERS];

static void stop(void)
{
	int i;

	for (i = 0; i < CALLERS; i++)
		if (!IS_ERR_OR_NULL(callers[i]))
			kthread_stop(callers[i]);
}

static int __init callers_init(void)
{
	int i;

	for (i = 0; i < CALLERS; i++) {
		callers[i] = kthread_run(caller, NULL, "caller");
		if (IS_ERR(callers[i])) {
			stop();
			return PTR_ERR(callers[i]);
		}
	}
	return 0;
}
module_init(callers_init);

static void __exit callers_exit(void)
{
	stop();
}
module_exit(callers_exit);

MODULE_DESCRIPTION("Counts calls that got the old version after the new one");
MODULE_LICENSE("GPL");
