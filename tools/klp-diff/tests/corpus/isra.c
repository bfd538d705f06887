// SPDX-License-Identifier: GPL-2.0
// A function whose arguments the compiler took apart changes.
// changed: sum
// external: consume
#include "kernel.h"
struct pair { int a, b, c, d; };
static noinline int sum(struct pair *pair)
{
#ifdef PATCHED
	return consume(pair->a) + 5;
#else
	return consume(pair->a);
#endif
}
int f(struct pair *pair) { return sum(pair) + 1; }
int g(struct pair *pair) { return sum(pair) + 2; }
