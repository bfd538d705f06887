// SPDX-License-Identifier: GPL-2.0
// A function with two names changes: it is replaced once.
// files: vmlinux
// objects: vmlinux:1
// external: consume
// changed: f
// new: second
#include "kernel.h"
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
int second(int n) __attribute__((alias("f")));
