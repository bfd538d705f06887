// SPDX-License-Identifier: GPL-2.0
// A function that is inlined changes: its callers do.
// changed: f g
// external: consume
#include "kernel.h"
static inline __attribute__((always_inline)) int step(int n)
{
#ifdef PATCHED
	return consume(n + 2);
#else
	return consume(n + 1);
#endif
}
int f(int n) { return step(n); }
int g(int n) { return step(n) * 5; }
int h(int n) { return consume(n); }
