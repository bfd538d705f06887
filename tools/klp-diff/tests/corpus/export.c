// SPDX-License-Identifier: GPL-2.0
// An exported function changes: it stays the kernel's export.
// changed: f
// external: consume
#include "kernel.h"
#ifdef PATCHED
#define STEP 2
#else
#define STEP 1
#endif
int f(int n) { return consume(n) + STEP; }
__asm__(".pushsection .export_symbol,\"\"\n"
	"__export_symbol_f: .asciz \"GPL\"\n.asciz \"\"\n.balign 8\n.quad f\n"
	".popsection");
