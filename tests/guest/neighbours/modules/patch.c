// SPDX-License-Identifier: GPL-2.0
/* The live patch. */
#include <linux/livepatch.h>
#include <linux/module.h>

#include "neighbours.h"

noinline int neighbours_replacement(void)
{
	barrier();
	return NEW;
}

static int new_hold(void (*body)(void))
{
	body();
	barrier();
	return NEW;
}

static int new_place(unsigned long place)
{
	barrier();
	return NEW;
}

static struct klp_func funcs[] = {
	{ .old_name = "neighbours_function", .new_func = neighbours_replacement },
	{ .old_name = "neighbours_hold", .new_func = new_hold },
	{ .old_name = "neighbours_place", .new_func = new_place },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "neighbours_target", .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init patch_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch for the neighbours suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
