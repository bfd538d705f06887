// SPDX-License-Identifier: GPL-2.0
/* A live patch in the manner of kGraft. */
#include <linux/module.h>
#include <linux/seq_file.h>

#include "kgraft.h"

static int new_cmdline(struct seq_file *m, void *v)
{
	seq_puts(m, "this has been patched by kGraft's interface\n");
	return 0;
}

static int new_speed(int factor)
{
	return 41 * factor;
}

static int new_limit(void)
{
	return 410;
}

static struct kgr_patch patch = {
	.name = "sample",
	.owner = THIS_MODULE,
	.patches = {
		KGR_PATCH_OBJ(target_speed, new_speed, "livepatch_target"),
		KGR_PATCH(cmdline_proc_show, new_cmdline),
		KGR_PATCH_OBJ(target_limit, new_limit, "livepatch_target"),
		KGR_PATCH_END
	},
};

static int __init patch_init(void)
{
	return kgr_patch_kernel(&patch);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
	kgr_patch_remove(&patch);
}
module_exit(patch_exit);

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Sample: a live patch with kGraft's interface");
MODULE_LICENSE("GPL");
