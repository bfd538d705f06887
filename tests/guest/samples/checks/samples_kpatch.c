// SPDX-License-Identifier: GPL-2.0
/* A live patch of samples_callers, with kpatch's interface. With gates=1 it acts at one instant. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "../all/kpatch/kpatch.h"

static bool gates;
module_param(gates, bool, 0400);
MODULE_PARM_DESC(gates, "Whether the functions go through gates");

static int new_version(void)
{
	return 2;
}

static int new_hold(void)
{
	return 2;
}

KPATCH_GATE(int, callers_version, new_version, (void), ());
KPATCH_GATE(int, callers_hold, new_hold, (void), ());
KPATCH_PARAMETER();

static struct kpatch_func version = { .name = "callers_version" };
static struct kpatch_func hold = { .name = "callers_hold" };

static struct kpatch_object object = {
	.name = "samples_callers",
	.funcs = LIST_HEAD_INIT(object.funcs),
	.dynrelas = LIST_HEAD_INIT(object.dynrelas),
};

static struct kpatch_module patch = {
	.mod = THIS_MODULE,
	.objects = LIST_HEAD_INIT(patch.objects),
};

static int __init patch_init(void)
{
	version.new_addr = (unsigned long)new_version;
	hold.new_addr = (unsigned long)new_hold;
	if (gates) {
		version.new_addr = KPATCH_GATE_ADDR(callers_version);
		version.gate = KPATCH_GATE_OF(callers_version);
		hold.new_addr = KPATCH_GATE_ADDR(callers_hold);
		hold.gate = KPATCH_GATE_OF(callers_hold);
	}
	list_add_tail(&version.list, &object.funcs);
	list_add_tail(&hold.list, &object.funcs);
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
MODULE_DESCRIPTION("A live patch with kpatch's interface, with gates or without");
MODULE_LICENSE("GPL");
