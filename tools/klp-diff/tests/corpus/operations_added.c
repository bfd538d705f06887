// SPDX-License-Identifier: GPL-2.0
// A structure of function pointers gets one more. It is as large as before.
// refused: operations DataChanged
#include "kernel.h"
noinline int one(int n) { return n + 1; }
noinline int two(int n) { return n + 2; }
struct operations {
	int (*one)(int n);
	int (*two)(int n);
};
struct operations operations = {
	.one = one,
#ifdef PATCHED
	.two = two,
#endif
};
int f(int n) { return operations.two ? operations.two(n) : operations.one(n); }
