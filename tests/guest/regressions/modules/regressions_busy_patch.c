// SPDX-License-Identifier: GPL-2.0
/* The live patch of the function that the busy kthreads call. */
#include <linux/livepatch.h>
#include <linux/module.h>

static noinline int new_function(unsigned int rounds)
{
	unsigned int i;

	for (i = 0; i < rounds; i++)
		barrier();
	return 2;
}

static struct klp_func funcs[] = {
	{ .old_name = "regressions_busy_function", .new_func = new_function },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "regressions_busy", .funcs = funcs },
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

MODULE_DESCRIPTION("Live patch for the busy kthreads of the regressions suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
