// SPDX-License-Identifier: GPL-2.0
// Two objects have static functions and variables of one name.
// files: vmlinux driver
// objects: driver:1 vmlinux:1
// exports: consume
// changed: twin
// outside: driver:seen seen
// external: consume
#include "kernel.h"
static int seen;
static noinline int twin(int n)
{
	seen += n;
#ifdef PATCHED
	return consume(n + FILE) + 1;
#else
	return consume(n + FILE);
#endif
}
#if FILE == 1
int f(int n) { return twin(n) + seen; }
#else
int g(int n) { return twin(n) + seen; }
#endif
