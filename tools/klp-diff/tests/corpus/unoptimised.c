// SPDX-License-Identifier: GPL-2.0
// Without optimisation of speed, functions are called that were inlined.
// flags: -Os
// changed: helper
// external: consume
#include "kernel.h"
static noinline int helper(int n)
{
#ifdef PATCHED
	return consume(n) * 3 + 1;
#else
	return consume(n) * 3;
#endif
}
int f(int n) { return helper(n) + helper(n + 1); }
