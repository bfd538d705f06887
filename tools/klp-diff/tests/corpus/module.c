// SPDX-License-Identifier: GPL-2.0
// A module that may be absent: its own symbols wait for it, the kernel's do not.
// files: driver
// objects: driver:1
// exports: consume
// changed: f
// outside: driver:helper driver:state hidden
// only: x86_64 arm64 s390 powerpc-clang
#include "kernel.h"
int hidden(int n);
static int state;
static noinline int helper(int n) { state ^= n; return consume(n) * 3; }
int f(int n)
{
	state += n;
#ifdef PATCHED
	return helper(n) + hidden(state) + 1;
#else
	return helper(n) + state;
#endif
}
