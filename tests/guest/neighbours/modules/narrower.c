// SPDX-License-Identifier: GPL-2.0
/* A live patch that replaces the other one and changes fewer functions. */
#include <linux/livepatch.h>
#include <linux/module.h>

#include "neighbours.h"

static int new_function(void)
{
	barrier();
	return NEW;
}

static struct klp_func funcs[] = {
	{ .old_name = "neighbours_function", .new_func = new_function },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "neighbours_target", .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
	.replace = true,
};

static int __init narrower_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(narrower_init);

static void __exit narrower_exit(void)
{
}
module_exit(narrower_exit);

MODULE_DESCRIPTION("Live patch of fewer functions, for the neighbours suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
