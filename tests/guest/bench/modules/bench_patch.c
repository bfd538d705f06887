// SPDX-License-Identifier: GPL-2.0
/* A live patch of SIZE functions of bench_target. */
#include <linux/args.h>
#include <linux/livepatch.h>
#include <linux/module.h>

#include "functions.h"

#define EACH(X) CONCATENATE(EACH_, SIZE)(X)

static int count = SIZE;
module_param(count, int, 0444);
MODULE_PARM_DESC(count, "how many of the functions to patch");

static bool hold;
module_param(hold, bool, 0444);
MODULE_PARM_DESC(hold, "whether bench_hold() is patched too");

#define DEFINE(n)                                                                                \
	static int new_##n(int x)                                                                \
	{                                                                                        \
		return x + 2##n;                                                                 \
	}
EACH(DEFINE)

void bench_wait(void);

static int new_hold(void)
{
	bench_wait();
	return 1;
}

#define ENTRY(n) { .old_name = "bench_" #n, .new_func = new_##n },
static struct klp_func funcs[SIZE + 2] = { EACH(ENTRY) };

static struct klp_object objs[] = {
	{
		.name = "bench_target",
		.funcs = funcs,
	},
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init patch_init(void)
{
	if (count < 0 || count > SIZE)
		return -EINVAL;
	funcs[count] = (struct klp_func){ };
	if (hold) {
		funcs[count].old_name = "bench_hold";
		funcs[count].new_func = new_hold;
		/* This ends the list; a leftover entry would be taken for another function. */
		funcs[count + 1] = (struct klp_func){ };
	}
	return klp_enable_patch(&patch);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch of the livepatch benchmark");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
