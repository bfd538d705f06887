// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch in the manner of kpatch: the tables are lists, made by hand here, and by kpatch's
 * build tool elsewhere. Both functions of livepatch_target change at one instant.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "kpatch.h"

static int new_speed(int factor)
{
	return 51 * factor;
}

static int new_limit(void)
{
	return 510;
}

KPATCH_GATE(int, target_speed, new_speed, (int factor), (factor));
KPATCH_GATE(int, target_limit, new_limit, (void), ());
KPATCH_PARAMETER();

static struct kpatch_func funcs[] = {
	{
		.name = "target_speed",
		.new_addr = KPATCH_GATE_ADDR(target_speed),
		.gate = KPATCH_GATE_OF(target_speed),
	},
	{
		.name = "target_limit",
		.new_addr = KPATCH_GATE_ADDR(target_limit),
		.gate = KPATCH_GATE_OF(target_limit),
	},
};

static int before(struct kpatch_object *object)
{
	pr_info("before %s is patched\n", object->name);
	return 0;
}

static void after(struct kpatch_object *object)
{
	pr_info("%s is patched\n", object->name);
}

static struct kpatch_object object = {
	.name = "livepatch_target",
	.funcs = LIST_HEAD_INIT(object.funcs),
	.dynrelas = LIST_HEAD_INIT(object.dynrelas),
	.pre_patch_callback = before,
	.post_patch_callback = after,
};

static struct kpatch_module patch = {
	.mod = THIS_MODULE,
	.objects = LIST_HEAD_INIT(patch.objects),
};

static int __init patch_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(funcs); i++)
		list_add_tail(&funcs[i].list, &object.funcs);
	list_add_tail(&object.list, &patch.objects);
	return kpatch_register(&patch, false);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
	kpatch_unregister(&patch);
}
module_exit(patch_exit);

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Sample: a live patch with kpatch's interface");
MODULE_LICENSE("GPL");
