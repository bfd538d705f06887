// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does nothing. The name vmlinux stands for the kernel itself, and the core must refuse a
 * module of that name. Kbuild builds no such module, so xtask renames this one.
 */
#include <linux/module.h>

static int __init none_init(void)
{
	return 0;
}
module_init(none_init);

static void __exit none_exit(void)
{
}
module_exit(none_exit);

MODULE_DESCRIPTION("Module that does nothing, for the parity scenarios");
MODULE_LICENSE("GPL");
