// SPDX-License-Identifier: GPL-2.0
// A new function has a jump label, whose key is the kernel's.
// changed: f
// entries: __jump_table 1
// outside: key
// external: consume
#include "kernel.h"
u64 key[2] = { 1 };
static inline __attribute__((always_inline)) int branch(void)
{
	__asm__ goto("1:\n"
		".pushsection __jump_table,\"aw\"\n"
		".long 1b - .\n\t.long %l0 - .\n\t.quad key - .\n"
		".popsection" :::: yes);
	return 0;
yes:
	return 1;
}
int f(int n)
{
#ifdef PATCHED
	if (branch())
		return consume(n) + 1;
#endif
	return consume(n);
}
int g(int n) { return branch() ? consume(n) : consume(n + 3); }
