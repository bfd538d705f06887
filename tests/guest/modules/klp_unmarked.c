// SPDX-License-Identifier: GPL-2.0
/*
 * A sound live patch in a module that is not marked as one: it lacks MODULE_INFO(livepatch, "Y"). So the
 * module loader has kept nothing of what the core needs, and the core must refuse the patch.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int replacement(struct seq_file *m, void *v)
{
	seq_puts(m, "a patch that should have been refused\n");
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = replacement },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init unmarked_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(unmarked_init);

static void __exit unmarked_exit(void)
{
}
module_exit(unmarked_exit);

MODULE_DESCRIPTION("Live patch not marked as one, for the livepatch core's tests");
MODULE_LICENSE("GPL");
