// SPDX-License-Identifier: GPL-2.0
// Functions of one section call each other without relocations.
// changed: g
// outside: f
// only: x86_64 arm64 s390 powerpc-clang
#include "kernel.h"
#define __together __section(".sched.text") noinline
static __together int f(int n) { return consume(n) * 7; }
__together int g(int n)
{
#ifdef PATCHED
	return f(n) + 3;
#else
	return f(n) + 2;
#endif
}
__together int h(int n) { return f(n + 1) + 2; }
