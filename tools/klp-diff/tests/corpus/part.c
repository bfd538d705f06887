// SPDX-License-Identifier: GPL-2.0
// The part of a function that its callers do not take in changes. It has another number after the
// patch, because a new function that the assembler knows by the same name is split first.
// only: gcc
// needs: check.part.1
// changed: check f
// replaces: check.part.0 f
// functions: check.part.0 check.part.1 f
// external: consume
#include "kernel.h"
#define SPLIT(name) \
	static int name(int *n) __asm__("check"); \
	static int name(int *n)
#ifdef PATCHED
SPLIT(early)
{
	if (!n)
		return 0;
	consume(21); consume(22); consume(23); consume(24); consume(25); consume(26); consume(27);
	consume(28); consume(29); consume(30);
	return consume(*n);
}
int f(int *n) { return early(n) + early(n + 1); }
#else
int f(int *n) { return consume(*n); }
#endif
SPLIT(check)
{
	if (!n)
		return 0;
	consume(1); consume(2); consume(3); consume(4); consume(5); consume(6); consume(7);
#ifdef PATCHED
	consume(100);
#endif
	consume(8); consume(9); consume(10);
	return consume(*n);
}
int g(int *n) { return check(n) + 2; }
int h(int *n) { return check(n) + 3; }
int i(int *n) { return check(n) + 4; }
