// SPDX-License-Identifier: GPL-2.0
// A function is removed, and its caller changes.
// changed: f
// external: consume
#include "kernel.h"
#ifdef PATCHED
int f(int n) { return consume(n); }
#else
static noinline int g(int n) { return consume(n) * 3; }
int f(int n) { return g(n); }
#endif
