// SPDX-License-Identifier: GPL-2.0
// A weak function changes.
// changed: f
// external: consume
#include "kernel.h"
__attribute__((weak)) int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
int g(int n) { return f(n) + 2; }
