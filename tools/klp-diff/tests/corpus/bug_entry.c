// SPDX-License-Identifier: GPL-2.0
// An entry of the bug table goes with its function; one of another does not.
// changed: f
// entries: __bug_table 1
// external: consume
#include "kernel.h"
#define BUG_ENTRY(line) __asm__ volatile("1:\n" \
	".pushsection __bug_table,\"aw\"\n" \
	"2: .long 1b - .\n\t.long 3f - .\n\t.short %c0\n\t.short 0\n" \
	".popsection\n" \
	".pushsection .rodata.str1.1,\"aMS\",%%progbits,1\n" \
	"3: .asciz \"corpus.c\"\n" \
	".popsection" :: "i"(line))
#ifdef PATCHED
#line 300
#endif
int f(int n)
{
	BUG_ENTRY(__LINE__);
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
int g(int n) { BUG_ENTRY(__LINE__); return consume(n); }
