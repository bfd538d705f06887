// SPDX-License-Identifier: GPL-2.0
// Only an entry of the exception table changes: so does its function.
// changed: f
// entries: __ex_table 1
// external: consume
// only: x86_64 arm64 s390
#include "kernel.h"
#define EXCEPTION(type) __asm__ volatile("1:\n" \
	".pushsection __ex_table,\"a\"\n" \
	".long 1b - .\n\t.long 1b - .\n\t.long " #type "\n" \
	".popsection")
#ifdef PATCHED
int f(int n) { EXCEPTION(2); return consume(n); }
#else
int f(int n) { EXCEPTION(1); return consume(n); }
#endif
int g(int n) { EXCEPTION(1); return consume(n); }
