/* SPDX-License-Identifier: GPL-2.0 */
/* A branch that a key switches. */

#define branch(key) ({						\
	__label__ yes, out;					\
	int taken;						\
	__asm__ goto("1:\n"					\
		".pushsection __jump_table,\"aw\"\n"		\
		".long 1b - .\n\t.long %l0 - .\n"		\
		".quad " #key " - .\n"				\
		".popsection" :::: yes);			\
	taken = 0;						\
	goto out;						\
yes:								\
	taken = 1;						\
out:								\
	taken; })
