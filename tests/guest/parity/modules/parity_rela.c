// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch with relocations that the core applies. The compiler leaves an ordinary relocation in the
 * section ".parity", against a symbol that nothing defines. xtask turns copies of the built module into
 * the variants that a scenario loads, good and bad. For that it rewrites the name and the flags of the
 * relocation section, and the name and the mark of the symbol.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

/* Weak, so that modpost does not report it as missing. */
extern char parity_elsewhere[] __weak;
static char *volatile elsewhere __used __section(".parity") = parity_elsewhere;

static int new_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "cmdline: " KBUILD_MODNAME ", %ps\n", elsewhere);
	return 0;
}

static int new_alpha(struct seq_file *m)
{
	seq_printf(m, "alpha: " KBUILD_MODNAME ", %ps\n", elsewhere);
	return 0;
}

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = new_cmdline },
	{ }
};

static struct klp_func target_funcs[] = {
	{ .old_name = "parity_alpha", .new_func = new_alpha },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = vmlinux_funcs },
	{ .name = "parity_target", .funcs = target_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init rela_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(rela_init);

static void __exit rela_exit(void)
{
}
module_exit(rela_exit);

MODULE_DESCRIPTION("Live patch with livepatch relocations, for the parity scenarios");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
