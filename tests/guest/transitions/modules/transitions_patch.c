// SPDX-License-Identifier: GPL-2.0
/* A live patch of transitions_nap(): the new one returns 2 at once. */
#include <linux/livepatch.h>
#include <linux/module.h>

static noinline int new_nap(char how)
{
	return 2;
}

static struct klp_func funcs[] = {
	{ .old_name = "transitions_nap", .new_func = new_nap },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "transitions_target", .funcs = funcs },
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

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Live patch for the suite transitions");
MODULE_LICENSE("GPL");
