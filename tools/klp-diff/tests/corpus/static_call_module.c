// SPDX-License-Identifier: GPL-2.0
// A static call whose key may be in a module that is absent.
// only: x86_64
// files: driver
// exports: consume
// refused: .static_call_sites KeyInModule
#include "kernel.h"
int f(int n)
{
	__asm__ volatile("1: call __SCT__hook\n"
		".pushsection .static_call_sites,\"aw\"\n"
		".long 1b - .\n.long __SCK__hook - .\n.popsection" ::: "memory");
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
