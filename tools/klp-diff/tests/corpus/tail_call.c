// SPDX-License-Identifier: GPL-2.0
// A call becomes the end of a function.
// only: x86_64 arm64 s390 powerpc-clang
// changed: f
// external: consume
#include "kernel.h"
noinline int f(int n)
{
#ifdef PATCHED
	return consume(n + 1);
#else
	return consume(n) + 1;
#endif
}
int g(int n) { return f(n) + 2; }
