// SPDX-License-Identifier: GPL-2.0
/* A live patch of all functions that can be patched, with a version of its own. */
#include <linux/livepatch.h>
#include <linux/module.h>

#include "stress.h"

#define VERSION (KBUILD_MODNAME[sizeof(KBUILD_MODNAME) - 2] - '0')

static bool replace;
module_param(replace, bool, 0444);
MODULE_PARM_DESC(replace, "whether the patch replaces all others");

/* Faults with which the test shows that it would notice one. */
static bool half;
module_param(half, bool, 0444);
MODULE_PARM_DESC(half, "whether stress_g() is left as it is");

static bool apart;
module_param(apart, bool, 0444);
MODULE_PARM_DESC(apart, "whether stress_visitor is left as it is");

static u64 spoil;
module_param(spoil, ullong, 0444);
MODULE_PARM_DESC(spoil, "bits of stress_f()'s results that are wrong");

static u64 new_f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
{
	return answer(VERSION, mix_f(a, b, c, d, e, f, g, h, i, j)) ^ spoil;
}

static u64 new_g(u64 a, u32 b, u64 c)
{
	return answer(VERSION, mix_g(a, b, c));
}

static u64 new_hold(unsigned int ms)
{
	stress_sleep(ms);
	return answer(VERSION, mix_hold(ms));
}

static u64 new_visitor_f(u64 a, u64 b)
{
	return answer(VERSION, mix_visitor_f(a, b));
}

static u64 new_visitor_g(u32 a, u64 b, u64 c)
{
	return answer(VERSION, mix_visitor_g(a, b, c));
}

static struct klp_func funcs[] = {
	{ .old_name = "stress_f", .new_func = new_f },
	{ .old_name = "stress_hold", .new_func = new_hold },
	{ .old_name = "stress_g", .new_func = new_g },
	{ }
};

static struct klp_func visitor_funcs[] = {
	{ .old_name = "visitor_f", .new_func = new_visitor_f },
	{ .old_name = "visitor_g", .new_func = new_visitor_g },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "stress_target", .funcs = funcs },
	{ .name = "stress_visitor", .funcs = visitor_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init patch_init(void)
{
	patch.replace = replace;
	if (half)
		funcs[2] = (struct klp_func){ };
	if (apart)
		objs[1] = (struct klp_object){ };
	return klp_enable_patch(&patch);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch for the stress test");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
