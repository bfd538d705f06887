// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch of functions that take nothing and return an int: they return `version` then. With `retry` its
 * init function tries again for as long as another patch is in transition.
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

static int __init patch_init(void)
{
	int ret;

	objs[0].name = object;
	funcs[0].old_name = functions[0];
	if (count > 1)
		funcs[1].old_name = functions[1];
	else
		funcs[1] = (struct klp_func){ };
	do {
		if (tries++)
			msleep(100);
		ret = klp_enable_patch(&patch);
	} while (retry && ret == -EBUSY && tries < 600);
	return ret;
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch for the suite regressions");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
