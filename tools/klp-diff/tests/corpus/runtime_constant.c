// SPDX-License-Identifier: GPL-2.0
// A changed function shifts by a value that the kernel writes into the instruction at boot.
// refused: runtime_shift_order RuntimeConstant
#include "kernel.h"
extern unsigned char order;
static inline unsigned int shift(unsigned int n)
{
	__asm__("1:\n\t"
#ifdef __x86_64__
		"shrl $12, %k0\n\t"
#endif
		".pushsection runtime_shift_order, \"a\"\n\t"
		".long 1b - .\n\t"
		".popsection" : "+r"(n));
	return n;
}
#ifdef PATCHED
int f(int n) { return consume(shift(n)) + 1; }
#else
int f(int n) { return consume(shift(n)) + 2; }
#endif
