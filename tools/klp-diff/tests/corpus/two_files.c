// SPDX-License-Identifier: GPL-2.0
// Two files of the kernel change, and one uses what the other adds.
// files: vmlinux vmlinux
// objects: vmlinux:2
// changed: f g
// new: added
// data: fresh
// external: consume
#include "kernel.h"
#if FILE == 1
#ifdef PATCHED
int fresh = 3;
noinline int added(int n) { return consume(n + fresh); }
#endif
int f(int n)
{
#ifdef PATCHED
	return added(n) + 1;
#else
	return consume(n);
#endif
}
#else
extern int fresh;
int added(int n);
int g(int n)
{
#ifdef PATCHED
	return added(n) + fresh + 2;
#else
	return consume(n);
#endif
}
#endif
