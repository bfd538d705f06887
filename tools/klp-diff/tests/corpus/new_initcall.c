// SPDX-License-Identifier: GPL-2.0
// An initcall comes along, which nobody will call: the module goes without, and a note says so.
// changed: f
// external: consume
// notes: added_call added
#include "kernel.h"
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
#ifdef PATCHED
static __init int added(void) { return consume(1); }
static int (*added_call)(void) __used __section(".initcall6.init") = added;
#endif
