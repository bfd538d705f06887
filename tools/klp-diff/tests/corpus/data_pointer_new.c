// SPDX-License-Identifier: GPL-2.0
// New constant data with pointers to functions of the kernel.
// changed: f
// data: table
// outside: g
// external: consume
#include "kernel.h"
int g(int n) { return consume(n) + 3; }
#ifdef PATCHED
static int (*const table[2])(int) = { g, consume };
int f(int n) { return table[n & 1](n); }
#else
int f(int n) { return g(n); }
#endif
