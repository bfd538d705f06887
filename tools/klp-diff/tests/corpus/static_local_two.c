// SPDX-License-Identifier: GPL-2.0
// Two functions have static locals of one name.
// changed: g
// outside: count
// external: consume
#include "kernel.h"
int f(int n) { static int count; count += n; return consume(count); }
int g(int n)
{
	static int count;
	count -= n;
#ifdef PATCHED
	return consume(count) + 1;
#else
	return consume(count);
#endif
}
