// SPDX-License-Identifier: GPL-2.0
// A function moves to another file: its callers in the kernel keep the old one.
// files: vmlinux vmlinux
// refused: wanderer Moved
#include "kernel.h"
#if FILE == 1
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
#endif
#if (FILE == 1) != defined(PATCHED)
int wanderer(int n) { return consume(n) + 7; }
#endif
