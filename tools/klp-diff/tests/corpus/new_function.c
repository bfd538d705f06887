// SPDX-License-Identifier: GPL-2.0
// A new static function comes with its caller.
// changed: f
// new: g
// external: consume
#include "kernel.h"
#ifdef PATCHED
static noinline int g(int n) { return consume(n) * 3; }
int f(int n) { return g(n) + g(n + 1); }
#else
int f(int n) { return consume(n); }
#endif
