// SPDX-License-Identifier: GPL-2.0
// A changed function refers to the kernel's own variables.
// changed: f
// outside: count limit
// external: consume
#include "kernel.h"
static int count;
int limit = 4;
int f(int n)
{
	if (count++ > limit)
		return consume(0);
#ifdef PATCHED
	return consume(n + 1);
#else
	return consume(n);
#endif
}
int g(int n) { limit = n; return count; }
