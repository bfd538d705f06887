// SPDX-License-Identifier: GPL-2.0
// A static local keeps its value, though another one gets its number.
// changed: f
// new: h
// data: seen
// outside: count
// external: consume
#include "kernel.h"
#ifdef PATCHED
int h(int n) { static int seen; seen += n; return consume(seen); }
#endif
int f(int n)
{
	static int count;
	count += n;
#ifdef PATCHED
	return consume(count) + h(n);
#else
	return consume(count);
#endif
}
