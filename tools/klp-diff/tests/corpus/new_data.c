// SPDX-License-Identifier: GPL-2.0
// New variables are in the module.
// changed: f
// data: calls table
// external: consume
#include "kernel.h"
#ifdef PATCHED
static int calls;
static int table[3] = { 1, 2, 3 };
int f(int n) { calls += n; hide(n); table[n & 1] += calls; return consume(table[n & 1]); }
#else
int f(int n) { return consume(n); }
#endif
