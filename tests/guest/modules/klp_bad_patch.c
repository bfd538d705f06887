// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch that is wrong in the way its parameters ask for. Each load asks the core three things: the
 * error number, the message, and whether everything is as it was before.
 *
 * Without "fault" and "symbol" it is a sound patch of cmdline_proc_show().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kallsyms.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>

static char *fault = "none";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "which part of the patch to break");

static char *symbol = "cmdline_proc_show";
module_param(symbol, charp, 0444);
MODULE_PARM_DESC(symbol, "the function to patch");

static ulong sympos;
module_param(sympos, ulong, 0444);
MODULE_PARM_DESC(sympos, "which of the functions with that name, from 1; 0: the only one");

static char *object;
module_param(object, charp, 0444);
MODULE_PARM_DESC(object, "the module it is in; unset: vmlinux");

/* Longer than any symbol in kallsyms. It is cut where a case needs a shorter name. */
static char long_name[KSYM_NAME_LEN + 1];

static int replacement(struct seq_file *m, void *v)
{
	seq_puts(m, "a patch that should have been refused\n");
	return 0;
}

static struct klp_func funcs[3];
static struct klp_object objs[3];
static struct klp_patch patch;

static void sound_patch(void)
{
	funcs[0].old_name = symbol;
	funcs[0].new_func = replacement;
	funcs[0].old_sympos = sympos;
	objs[0].name = object;
	objs[0].funcs = funcs;
	patch.mod = THIS_MODULE;
	patch.objs = objs;
}

static int break_patch(void)
{
	if (!strcmp(fault, "none") || !strcmp(fault, "null-patch") || !strcmp(fault, "twice"))
		return 0;

	memset(long_name, 'x', sizeof(long_name) - 1);

	if (!strcmp(fault, "no-module")) {
		patch.mod = NULL;
	} else if (!strcmp(fault, "no-objects")) {
		patch.objs = NULL;
	} else if (!strcmp(fault, "no-funcs")) {
		objs[0].funcs = NULL;
		objs[0].name = "some_module";
	} else if (!strcmp(fault, "empty")) {
		/* Without a name too, this entry ends the list of objects. */
		objs[0].funcs = NULL;
	} else if (!strcmp(fault, "no-name")) {
		funcs[0].old_name = NULL;
	} else if (!strcmp(fault, "no-new-func")) {
		funcs[0].new_func = NULL;
	} else if (!strcmp(fault, "long-func")) {
		funcs[0].old_name = long_name;
	} else if (!strcmp(fault, "longest-func")) {
		long_name[KSYM_NAME_LEN - 1] = '\0';
		funcs[0].old_name = long_name;
	} else if (!strcmp(fault, "long-object")) {
		long_name[MODULE_NAME_LEN] = '\0';
		objs[0].name = long_name;
	} else if (!strcmp(fault, "func-twice")) {
		funcs[1] = funcs[0];
	} else if (!strcmp(fault, "second-unknown")) {
		funcs[1].old_name = "no_such_function";
		funcs[1].new_func = replacement;
	} else {
		pr_err("no fault is called '%s'\n", fault);
		return -EDOM;
	}
	return 0;
}

static int __init bad_patch_init(void)
{
	int ret;

	sound_patch();
	ret = break_patch();
	if (ret)
		return ret;

	if (!strcmp(fault, "null-patch"))
		return klp_enable_patch(NULL);

	ret = klp_enable_patch(&patch);
	if (!ret && !strcmp(fault, "twice"))
		pr_info("the second klp_enable_patch() returned %d\n", klp_enable_patch(&patch));
	return ret;
}
module_init(bad_patch_init);

static void __exit bad_patch_exit(void)
{
}
module_exit(bad_patch_exit);

MODULE_DESCRIPTION("Live patch with a fault, for the livepatch core's tests");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
