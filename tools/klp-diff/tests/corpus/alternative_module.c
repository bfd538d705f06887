// SPDX-License-Identifier: GPL-2.0
// An alternative calls a function of a module that may be absent: the kernel has rewritten the call
// before the address is known.
// only: x86_64
// files: driver
// exports: consume
// refused: f TooLate
#include "kernel.h"
static __used noinline int helper(int n) { return consume(n) * 3; }
int f(int n)
{
	__asm__ volatile("661: call helper\n662:\n"
		".pushsection .altinstructions,\"a\"\n"
		".long 661b - .\n.long 663f - .\n.long 0x75\n"
		".byte 662b - 661b\n.byte 664f - 663f\n.popsection\n"
		".pushsection .altinstr_replacement,\"ax\"\n"
		"663: .byte 0x0f, 0x1f, 0x44, 0, 0\n664:\n.popsection" ::: "memory");
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
