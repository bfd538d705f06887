// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch of functions that take no arguments and return an int: the new ones return `version`. With
 * `retry` its init function retries while another patch is in transition. With `again` it waits until the
 * patch is disabled, and then enables the patch once more.
 */
#include <linux/delay.h>
#include <linux/livepatch.h>

#include "regressions.h"

static char *object = "regressions_target";
module_param(object, charp, 0444);

static char *functions[2];
static int count;
module_param_array(functions, charp, &count, 0444);

static int version = 2;
module_param(version, int, 0444);

static bool retry;
module_param(retry, bool, 0444);

static bool again;
module_param(again, bool, 0444);

static int tries;
module_param(tries, int, 0444);
MODULE_PARM_DESC(tries, "how often klp_enable_patch() was called");

static OPAQUE int new_one(void)
{
	return READ_ONCE(version);
}

static OPAQUE int new_two(void)
{
	return READ_ONCE(version);
}

static struct klp_func funcs[] = {
	{ .new_func = new_one },
	{ .new_func = new_two },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

/* Retries until klp_enable_patch() returns neither of these two errors. */
static int __init enable(int error, int other)
{
	int ret = klp_enable_patch(&patch);

	for (tries++; (ret == error || ret == other) && tries < 600; tries++) {
		msleep(50);
		ret = klp_enable_patch(&patch);
	}
	return ret;
}

static int __init patch_init(void)
{
	int ret;

	objs[0].name = object;
	funcs[0].old_name = functions[0];
	if (count > 1)
		funcs[1].old_name = functions[1];
	else
		funcs[1] = (struct klp_func){ };
	ret = retry ? enable(-EBUSY, -EBUSY) : enable(1, 1);
	if (ret || !again)
		return ret;
	while (READ_ONCE(patch.enabled))
		msleep(20);
	/* The patch still exists at first, and is then being removed. */
	return enable(-EEXIST, -EBUSY);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch for the suite regressions");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
