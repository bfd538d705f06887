// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch whose functions use symbols that no module can import. A symbol named
 * klp_symbol__<object>__<symbol> in this file stands for that symbol of that object. xtask turns
 * references to it into livepatch relocations. The core resolves the symbol when it applies the patch.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "conformance.h"

#define KLP_SYMBOL(object, symbol) klp_symbol__##object##__##symbol
#define TARGET_SYMBOL(symbol) KLP_SYMBOL(conformance_target, symbol)

extern int TARGET_SYMBOL(conformance_secret);
int TARGET_SYMBOL(conformance_secret_add)(int a);
extern int TARGET_SYMBOL(conformance_shared);
int TARGET_SYMBOL(conformance_shared_add)(int a);
int KLP_SYMBOL(vmlinux, cmdline_proc_show)(struct seq_file *m, void *v);

/* In data, the relocation writes the address itself. */
static int *volatile secret = &TARGET_SYMBOL(conformance_secret);

static int new_local(void)
{
	if (READ_ONCE(TARGET_SYMBOL(conformance_secret)) != 42)
		return -EFAULT;
	if (TARGET_SYMBOL(conformance_secret_add)(8) != 50)
		return -ENOEXEC;
	if (secret != &TARGET_SYMBOL(conformance_secret) || *secret != 42)
		return -EXDEV;
	/*
	 * The module exports these symbols. But to import them, this module would have to be loaded after it.
	 */
	if (READ_ONCE(TARGET_SYMBOL(conformance_shared)) != 4711)
		return -EFAULT;
	if (TARGET_SYMBOL(conformance_shared_add)(1) != 4712)
		return -ENOEXEC;
	return PATCHED;
}

/* A static function of the kernel, which calls another one. */
static int new_version(struct seq_file *m, void *v)
{
	seq_puts(m, "conformance: ");
	return KLP_SYMBOL(vmlinux, cmdline_proc_show)(m, v);
}

static struct klp_func target_funcs[] = {
	{ .old_name = "conformance_local", .new_func = new_local },
	{ }
};

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "version_proc_show", .new_func = new_version },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "conformance_target", .funcs = target_funcs },
	{ .funcs = vmlinux_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init relocations_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(relocations_init);

static void __exit relocations_exit(void)
{
}
module_exit(relocations_exit);

MODULE_DESCRIPTION("Live patch with livepatch relocations, for the conformance suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
