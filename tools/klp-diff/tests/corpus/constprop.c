// SPDX-License-Identifier: GPL-2.0
// A copy of a function for constant arguments changes with the function.
// only: gcc
// changed: f scale
// new: twice
// external: consume
#include "kernel.h"
static noinline int scale(int n, int factor)
{
#ifdef PATCHED
	return consume(n * factor) + consume(factor) + 1;
#else
	return consume(n * factor) + consume(factor);
#endif
}
#ifdef PATCHED
static noinline int twice(int n) { return consume(n) * 2; }
#endif
int f(int n)
{
#ifdef PATCHED
	return scale(n, 3) + twice(n);
#else
	return scale(n, 3);
#endif
}
int g(int n) { return scale(n + 1, 3); }
