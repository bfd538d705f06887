// SPDX-License-Identifier: GPL-2.0
/*
 * A module for the samples to patch. Its parameters are what its functions return:
 *
 *	/sys/module/livepatch_target/parameters/speed	10
 *	/sys/module/livepatch_target/parameters/limit	100
 */
#include <linux/module.h>
#include <linux/sysfs.h>

noinline int target_speed(int factor);
noinline int target_speed(int factor)
{
	return 10 * factor;
}

/* Not a constant, which a compiler may put into the caller in place of the call. */
static int limit = 100;

noinline int target_limit(void);
noinline int target_limit(void)
{
	return READ_ONCE(limit);
}

static int speed_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", target_speed(1));
}

static const struct kernel_param_ops speed_ops = { .get = speed_get };
module_param_cb(speed, &speed_ops, NULL, 0444);
MODULE_PARM_DESC(speed, "What target_speed() returns");

static int limit_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", target_limit());
}

static const struct kernel_param_ops limit_ops = { .get = limit_get };
module_param_cb(limit, &limit_ops, NULL, 0444);
MODULE_PARM_DESC(limit, "What target_limit() returns");

MODULE_DESCRIPTION("Sample: a module to patch");
MODULE_LICENSE("GPL");
