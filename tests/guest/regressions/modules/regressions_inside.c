// SPDX-License-Identifier: GPL-2.0
/* A live patch of regressions_inner() that keeps its callers until `release` is set. */
#include <linux/delay.h>
#include <linux/livepatch.h>

#include "regressions.h"

static bool inside;
module_param(inside, bool, 0444);
MODULE_PARM_DESC(inside, "whether a task is in the new function");

static bool release;
module_param(release, bool, 0644);

static OPAQUE int new_inner(void)
{
	WRITE_ONCE(inside, true);
	while (!READ_ONCE(release))
		msleep(20);
	WRITE_ONCE(inside, false);
	return hidden(2);
}

static struct klp_func funcs[] = {
	{ .old_name = "regressions_inner", .new_func = new_inner },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "regressions_caller", .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init inside_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(inside_init);

static void __exit inside_exit(void)
{
}
module_exit(inside_exit);

MODULE_DESCRIPTION("Live patch with a function that waits, for the suite regressions");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
