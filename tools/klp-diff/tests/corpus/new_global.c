// SPDX-License-Identifier: GPL-2.0
// A new global function comes along: another object of the patch may call it.
// changed: f
// new: g
// external: consume
#include "kernel.h"
#ifdef PATCHED
int g(int n) { return consume(n) * 3; }
int f(int n) { return consume(n + 1); }
#else
int f(int n) { return consume(n); }
#endif
