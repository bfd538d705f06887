// SPDX-License-Identifier: GPL-2.0
// A static function has one more argument: it and its callers change.
// changed: f g helper
// external: consume
#include "kernel.h"
#ifdef PATCHED
static noinline int helper(int n, int m) { return consume(n) * m; }
int f(int n) { return helper(n, n + 1) + 1; }
int g(int n) { return helper(n, n + 2) + 2; }
#else
static noinline int helper(int n) { return consume(n); }
int f(int n) { return helper(n) + 1; }
int g(int n) { return helper(n) + 2; }
#endif
int h(int n) { return consume(n) + 3; }
