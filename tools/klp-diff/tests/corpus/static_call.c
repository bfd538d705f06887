// SPDX-License-Identifier: GPL-2.0
// A static call of the kernel: its site comes along, its key and trampoline are the kernel's.
// only: x86_64
// changed: f
// entries: .static_call_sites 1
// external: __SCK__hook __SCT__hook consume
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
