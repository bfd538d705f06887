// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch whose replacement lies at an odd address, if the architecture can have instructions there.
 * Compilers place functions that they take for cold directly behind one another, so at any address. Here
 * the address is always odd.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "conformance.h"

int conformance_odd(struct seq_file *m, void *v);

static __used noinline int conformance_odd_body(struct seq_file *m, void *v)
{
	seq_puts(m, "conformance\n");
	return 0;
}

#ifdef CONFIG_X86_64
#include <asm/ibt.h>

asm("	.pushsection .text.conformance_odd, \"ax\"\n"
    "	.balign 16\n"
    "	int3\n"
    "	.type conformance_odd, @function\n"
    "conformance_odd:\n"
    "	" ASM_ENDBR
    "	jmp conformance_odd_body\n"
    "	.size conformance_odd, . - conformance_odd\n"
    "	.popsection\n");
#else
/* Instructions cannot lie at an odd address here. */
int conformance_odd(struct seq_file *m, void *v)
{
	return conformance_odd_body(m, v);
}
#endif

static struct klp_func funcs[] = {
	{ .old_name = "loadavg_proc_show", .new_func = conformance_odd },
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

static int __init conformance_odd_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(conformance_odd_init);

static void __exit conformance_odd_exit(void)
{
}
module_exit(conformance_odd_exit);

MODULE_DESCRIPTION("Live patch at an odd address, for the conformance suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
