// SPDX-License-Identifier: GPL-2.0
// Initialisation is as it was, where something else changes.
// changed: f
// external: consume
#include "kernel.h"
noinline int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
int __init start(void) { return f(1) + consume(1); }
