// SPDX-License-Identifier: GPL-2.0
// A changed function has an alternative, with its replacement.
// only: x86_64
// changed: f
// entries: .altinstructions 1
// external: consume
#include "kernel.h"
int f(int n)
{
	__asm__ volatile("661: .byte 0x90, 0x90, 0x90\n662:\n"
		".pushsection .altinstructions,\"a\"\n"
		".long 661b - .\n.long 663f - .\n.long 0x75\n"
		".byte 662b - 661b\n.byte 664f - 663f\n.popsection\n"
		".pushsection .altinstr_replacement,\"ax\"\n"
		"663: .byte 0x0f, 0x01, 0xcb\n664:\n.popsection");
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
